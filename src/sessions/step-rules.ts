import type { AbsencePolicy, Capabilities } from '../provider/capabilities.ts';
import type { ProviderId } from '../provider/ids.ts';

/** What the decision has to know besides the row; plain look-ups. */
export interface StepRules {
  absenceOf(provider: ProviderId): AbsencePolicy;
  billingOf(provider: ProviderId): Capabilities['billing'];
  /** From the create's acceptance until SSH is proven, unless the request says otherwise. */
  readonly bootTimeoutMs: number;
  /** From the first login until the GPU driver answers. */
  readonly driverTimeoutMs: number;
}
