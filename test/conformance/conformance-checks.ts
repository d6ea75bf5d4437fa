import { createChecks } from './checks/create.ts';
import { destroyChecks } from './checks/destroy.ts';
import { errorChecks } from './checks/errors.ts';
import { offerChecks } from './checks/offers.ts';
import { readChecks } from './checks/reads.ts';
import type { ConformanceCheck } from './world.ts';

/** What every provider must do. */
export const CONFORMANCE_CHECKS: readonly ConformanceCheck[] = [
  ...offerChecks,
  ...createChecks,
  ...readChecks,
  ...destroyChecks,
  ...errorChecks,
];
