import type { EpochMs } from '../core/clock.ts';
import type { MicroUsd } from '../core/money.ts';
import type { InstanceId } from './ids.ts';

/** What a provider says that it has billed for an instance in a span of time. Instances that are gone have theirs, too. */
export interface Charge {
  readonly instanceId: InstanceId;
  /** The tag that the instance bore, where the provider tells. */
  readonly tag?: string;
  readonly from: EpochMs;
  readonly until: EpochMs;
  /** All of it. */
  readonly amountMicros: MicroUsd;
  /** The part of it that is for bytes and not for time: no price an hour holds it. */
  readonly transferMicros: MicroUsd;
}

/** Charges of which a part may lie in the period; more may come. */
export interface ChargeQuery {
  readonly from: EpochMs;
  readonly until: EpochMs;
}

export interface ChargeListing {
  /** Of the whole account, all pages, one for each instance and span. Providers bill late: none yet is not none. */
  readonly charges: readonly Charge[];
  readonly observedAt: EpochMs;
  /** Rows that could not be read. */
  readonly dropped: number;
  /** By how much each amount may be off because it was rounded. */
  readonly roundingMicros: MicroUsd;
}
