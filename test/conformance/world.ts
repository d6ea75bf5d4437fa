import type { Clock } from '../../src/core/clock.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { OwnershipTag } from '../../src/provider/ownership-tag.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { Provider } from '../../src/provider/provider.ts';

/**
 * How a vendor's answer can go wrong, in our words.
 * `lost answer`: carried out, but the connection breaks. `no answer`: carried out, and the connection stays open without a word.
 * `unreadable`: a web page, or half of the JSON. The others are refusals: nothing is done.
 */
export type AccountFault =
  'capacity' | 'rate_limited' | 'unavailable' | 'auth' | 'funds' | 'unreadable' | 'lost answer' | 'no answer';

/** What a world can do to the account behind its provider. A check says what it needs; what a world lacks, skips it. */
export interface AccountControls {
  /** An instance that nobody here made, with a tag of somebody else or none. */
  readonly plantForeign?: () => Promise<{ readonly id: InstanceId; readonly tag?: string }>;
  /** Rows of a page of the vendor's list: more instances than that are planted to see whether all pages are read. */
  readonly pageSize?: number;
  /** Somebody else rents the offer. */
  readonly takeOffer?: (offer: Offer) => Promise<void>;
  /** For all calls of the operation until `heal`, or for the next `times` only. */
  readonly fault?: (operation: ProviderOperation, fault: AccountFault, times?: number) => void;
  readonly heal?: () => void;
  /** The vendor shows a state that no documentation knows. */
  readonly setUnknownWord?: (id: InstanceId) => Promise<void>;
  /** Somebody bids more than the instance does. */
  readonly preempt?: (id: InstanceId) => Promise<void>;
  /** The truth: what exists and bears the tag, whatever the provider says. */
  readonly livingWithTag?: (tag: string) => Promise<readonly InstanceId[]>;
}

/** A provider with an account of its own, and the time in which it lives. Made anew for each check. */
export interface ConformanceWorld {
  readonly provider: Provider;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  /** Lets that much time pass: at once under a fake clock, by waiting elsewhere. */
  readonly advance: (ms: number) => Promise<void>;
  readonly newTag: () => OwnershipTag;
  /** Formed like the provider's ids, of an instance that never was. */
  readonly unknownId: InstanceId;
  /** What must never be read in an error besides what the checks send themselves: the account's key. */
  readonly secrets: readonly string[];
  /** The longest waits, milliseconds. */
  readonly limits: {
    readonly answerMs: number;
    /** From create to running. */
    readonly bootMs: number;
    /** From the first destroy to gone. */
    readonly goneMs: number;
    /** How long the vendor's list may lack a new instance: at most the provider's `absence.windowMs`. */
    readonly listLagMs: number;
  };
  readonly controls: AccountControls;
  /** Ends what the world runs; instances are destroyed before. */
  readonly close: () => Promise<void>;
}

export type MakeWorld = () => Promise<ConformanceWorld>;

/** One thing that every provider must do. */
export interface ConformanceCheck {
  readonly id: string;
  /** The scenario that it covers, as `CONF-C3`. */
  readonly scenario?: string;
  /** A sentence about the provider. */
  readonly title: string;
  readonly needs?: readonly (keyof AccountControls)[];
  /** Whether it means anything for such a provider; always, when absent. */
  readonly applies?: (provider: Provider) => boolean;
  /** Fails with an AssertionError that says what the provider did. */
  readonly run: (world: ConformanceWorld) => Promise<void>;
}
