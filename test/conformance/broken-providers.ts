import type { BrokenProvider } from './broken/broken-provider.ts';
import { BROKEN_BIDDERS } from './broken/bidders.ts';
import { BROKEN_CREATES } from './broken/creates.ts';
import { BROKEN_DESTROYS } from './broken/destroys.ts';
import { BROKEN_ERRORS } from './broken/errors.ts';
import { BROKEN_OFFERS } from './broken/offers.ts';
import { BROKEN_READS } from './broken/reads.ts';
import { BROKEN_TEMPLATES } from './broken/templates.ts';

/** Providers that are wrong in one way each, by what of the contract they break. */
export const BROKEN_PROVIDERS: readonly BrokenProvider[] = [
  ...BROKEN_OFFERS,
  ...BROKEN_CREATES,
  ...BROKEN_READS,
  ...BROKEN_DESTROYS,
  ...BROKEN_ERRORS,
  ...BROKEN_BIDDERS,
  ...BROKEN_TEMPLATES,
];
