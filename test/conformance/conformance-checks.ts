import { createChecks } from './checks/create.ts';
import { destroyChecks } from './checks/destroy.ts';
import { errorChecks } from './checks/errors.ts';
import { interruptibleChecks } from './checks/interruptible.ts';
import { offerChecks } from './checks/offers.ts';
import { readChecks } from './checks/reads.ts';
import { templateChecks } from './checks/templates.ts';
import type { ConformanceCheck } from './world.ts';

/** What every provider must do. */
export const CONFORMANCE_CHECKS: readonly ConformanceCheck[] = [
  ...offerChecks,
  ...createChecks,
  ...interruptibleChecks,
  ...readChecks,
  ...destroyChecks,
  ...errorChecks,
  ...templateChecks,
];
