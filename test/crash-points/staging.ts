import type { Capabilities } from '../../src/provider/capabilities.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { AccountSettings } from '../support/in-memory-account.ts';
import type { WorldSettings } from '../support/replica.ts';

export interface MarketWish {
  readonly offers?: readonly Offer[];
  readonly settings?: Partial<AccountSettings>;
  readonly capabilities?: Partial<Capabilities>;
  /** Its machines can be reached only through it. */
  readonly dials?: boolean;
}

/** What has to stand before a story begins. */
export interface Staging {
  readonly market?: MarketWish;
  readonly settings?: Partial<WorldSettings>;
  /** The broker's start is a part of it: counted from its first effect. */
  readonly fromStart?: boolean;
}
