import type { EpochMs } from '../../../src/core/clock.ts';
import type { MicroUsd } from '../../../src/core/money.ts';
import type { SessionId } from '../../../src/core/ids.ts';
import type { Attempt } from '../../../src/db/tables.ts';
import type { InstanceId } from '../../../src/provider/ids.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import type { SessionRecord } from '../../../src/sessions/session-record.ts';
import type { FailureReason } from '../../../src/sessions/session-state.ts';
import type { World, WorldClock, WorldOrder } from '../../support/world.ts';
import type { Traffic } from '../traffic.ts';
import type { AccountControls } from '../world.ts';

/**
 * How the vendor is on the day of a story. `calm`: it does what its papers say, at once, and what a story promises must come true.
 * `default`: with the accidents and the slowness of an ordinary day. `stress`: with all of them, all the time. On such days a session may
 * fail, honestly; what always holds is that nothing is left alive, nothing was made twice, and the bill is right.
 */
export type Mood = 'calm' | 'default' | 'stress';

/** What the vendor's own books say of an instance that was ever made, by us or by somebody else. */
export interface Book {
  readonly id: InstanceId;
  readonly tag: string | undefined;
  readonly openedAt: EpochMs;
  /** When its destroy was taken; absent while it lives. */
  readonly closedAt?: EpochMs;
  readonly micros: MicroUsd;
}

/** What may be wrong with every machine of the market from now on. */
export type Trouble =
  | 'boots never'
  | 'boots and fails'
  | 'takes no key'
  | 'opens no port'
  | 'first route dead'
  | 'second route dead'
  | 'hides its GPUs'
  | 'has less VRAM'
  | 'doubles its price'
  | 'bills late';

export interface OddAnswer {
  readonly title: string;
  /** Whether there is an instance all the same. */
  readonly makes: boolean;
  /** What has to be thought of the attempt. */
  readonly means: 'adopted' | FailureReason;
  /** The next create gets it. */
  readonly give: () => void;
}

/** A vendor's emulator in the hands of a story, and the adapter in front of it. What is missing, its stories leave out. */
export interface StoryMarket {
  readonly provider: Provider;
  readonly traffic: Traffic;
  readonly controls: AccountControls;
  books(): readonly Book[];
  /** All troubles at once; none heals them. */
  trouble(...troubles: readonly Trouble[]): void;
  readonly troubles: readonly Trouble[];
  /** A create that is refused in words and carried out all the same. */
  readonly makeInSpite?: (how: 'told' | 'untold') => void;
  /** Answers to a create whose status says nothing of what became of it. */
  readonly oddAnswers?: readonly OddAnswer[];
  /** Its host takes a machine back, and somebody starts it again by hand: that start waits in the vendor's queue. */
  readonly queueStart?: (id: InstanceId) => void;
  /** From now on the key is refused; and again taken. */
  readonly revokeKey?: () => void;
  readonly restoreKey?: () => void;
  /** Nothing is left to pay with, until `heal`. Absent where nobody pays. */
  readonly emptyAccount?: () => void;
  /** Listings of offers allowed this day are used up. */
  readonly spendQuota?: () => void;
  /** The vendor's word of an end proves nothing, so that an instance costs by our books for as long as its end is not known. */
  readonly provesEndsLate?: boolean;
  /** The most, as a share, by which its price moves between the offer and the create without its ever telling. */
  readonly untoldPriceShare?: number;
  /** The longest time in which a machine that does not answer is billed as if it ran: nobody knows whether it does. */
  readonly silenceMs?: number;
  /** Whether it lives where no call to anybody reaches it. */
  readonly isBeyondReach?: (id: InstanceId) => boolean;
  /** Calls that the vendor itself found too frequent. */
  tooFrequent(): readonly string[];
  close(): Promise<void>;
}

export type OpenMarket = (order: {
  readonly clock: WorldClock;
  readonly seed: number;
  readonly mood: Mood;
}) => Promise<StoryMarket>;

/** A session that did not come about on a day that was not calm: the rest of the story cannot be told, its end can. */
export class Spoilt extends Error {}

export interface StoryWorld {
  readonly mood: Mood;
  readonly market: StoryMarket;
  readonly broker: World;
  readonly clock: WorldClock;
  /** Books of instances that bear a tag of this broker. */
  ours(): readonly Book[];
  living(): readonly Book[];
  /** A session that runs. Where the day is not calm and none comes about, the story is spoilt. */
  rent(order?: WorldOrder): Promise<SessionRecord>;
  /** Moves time until the session is so. */
  until(id: SessionId, what: string, isSo: (record: SessionRecord) => boolean, withinMs?: number): Promise<SessionRecord>;
  untilEnded(id: SessionId): Promise<SessionRecord>;
  /** Something that the vendor is made to do. */
  byHand(act: () => Promise<void> | void): Promise<void>;
  pass(ms: number): Promise<void>;
  /** What must be so on a calm day; on others a story that cannot go on is spoilt. */
  sure(isSo: boolean, what: string): void;
  /** The order that a story gives unless it has a reason not to. */
  readonly anything: WorldOrder;
  attemptOf(record: SessionRecord): Attempt;
}

/** A scenario of the conformance table, told with the product's own broker and the vendor's emulator. */
export interface Story {
  /** `C3`. */
  readonly id: string;
  readonly title: string;
  /** Hands that the market must have. */
  readonly needs?: readonly (keyof StoryMarket | keyof AccountControls)[];
  readonly troubles?: readonly Trouble[];
  /** The vendor changes what it bills by itself, which is seen at the next round of lists at the soonest. */
  readonly billedUnseen?: true;
  /** For so long nobody could have seen that a machine died: on days on which they do, that is on our bill. */
  readonly blindMs?: number;
  readonly applies?: (provider: Provider) => boolean;
  /** Fails with an AssertionError. Ends when it likes: all sessions are ended after it, and the books are compared. */
  readonly run: (world: StoryWorld) => Promise<void>;
}
