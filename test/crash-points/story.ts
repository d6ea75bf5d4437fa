import type { Capabilities } from '../../src/provider/capabilities.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { AccountSettings } from '../support/in-memory-account.ts';
import type { WorldSettings } from '../support/replica.ts';
import type { Stage } from './stage.ts';

export interface MarketWish {
  readonly offers?: readonly Offer[];
  readonly settings?: Partial<AccountSettings>;
  readonly capabilities?: Partial<Capabilities>;
  /** Its machines can be reached only through it. */
  readonly dials?: boolean;
}

/**
 * What a consumer, a market and time do, and what has to come of it wherever the broker dies once on the way. A story asks for what it needs to
 * see before it goes on, never for a moment, and what it expects at its end holds for every death.
 */
export interface Story {
  readonly name: string;
  readonly market?: MarketWish;
  readonly settings?: Partial<WorldSettings>;
  /** The broker's start is a part of it: counted from its first effect. */
  readonly fromStart?: boolean;
  /** Events that a round without a death must bring, or the story tells of something else than it says. */
  readonly brings: readonly string[];
  /** How much time of an instance the bill may miss or have too much, for what nobody can see; of a death comes its own. */
  readonly unseenMs?: number;
  /** What may be in the log as an error. */
  readonly errors?: readonly string[];
  play(stage: Stage): Promise<void>;
}
