import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { createRequest, settled } from './steps.ts';
import type { ConformanceWorld } from './world.ts';

const ANSWER_LIMIT_MS = 30 * 60_000;
const ENDING_ROUNDS = 60;
const ENDING_PAUSE_MS = 20_000;
/** So often at least every kind of call has to be answered, or the storm was no test of it. */
const ENOUGH = 4;

/** Of a hundred steps; the rest are destroys. */
const SHARES = { offers: 20, create: 30, list: 15, get: 20 } as const;

type Call = keyof typeof SHARES | 'destroy';

/** The truth of an account, whatever its vendor says, and what the vendor may say when. */
export interface StormVendor {
  /** All that lives and has to be listed, with the tag that it bears, one of ours. */
  living(tags: readonly string[]): readonly { readonly id: string; readonly tag: string }[];
  /** What came of the create with the tag; it may be still on its way where `startsLate`. */
  madeWith(tag: string): readonly string[];
  /** An accepted create may make its instance after its answer. */
  readonly startsLate: boolean;
  /** Whom get and destroy may be asked about. */
  known(tags: readonly string[]): readonly string[];
  isWanted?(offer: Offer): boolean;
  /** Whether this is a lie about an instance that does not live. */
  isLieOfTheDead(told: Instance): boolean;
  /** Whether this answer to a destroy is a lie about an instance that lives. */
  isLieOfTheLiving(told: 'destroying' | 'gone'): boolean;
}

interface Storm {
  readonly seed: number;
  readonly steps: number;
  /** Up to so much time goes by between two calls. */
  readonly pauseMs?: number;
  /** How far time goes on at once while an answer is waited for. */
  readonly stepMs?: number;
}

/**
 * Calls at random on an account in which everything goes wrong, each answer held against the truth; in the end all that the list shows
 * with a tag of ours is destroyed, as the broker would do it. Answers with what the provider lied about, what is left alive, and which calls
 * were hardly ever answered: all three have to be empty.
 */
export async function rideStorm(
  world: ConformanceWorld,
  vendor: StormVendor,
  { seed, steps, pauseMs = 0, stepMs }: Storm,
): Promise<{ readonly lies: readonly string[]; readonly left: readonly string[]; readonly unheard: readonly string[] }> {
  const { provider } = world;
  const random = seededRandom(seed);
  const pick = <T>(values: readonly T[]): T | undefined => values[Math.floor(random.next() * values.length)];
  const lies: string[] = [];
  const answered: Record<Call, number> = { offers: 0, create: 0, list: 0, get: 0, destroy: 0 };
  const tags: string[] = [];
  let offers: readonly Offer[] = [];

  const living = () => vendor.living(tags);
  const livingTag = (id: string) => living().find((each) => each.id === id)?.tag;
  const somebody = () => pick(vendor.known(tags));

  /** The value or the kind of a call's error; whatever is no ProviderError is a lie in itself. */
  async function asked<T>(what: Call, call: Promise<T>) {
    const outcome = await settled(world, call, { limitMs: ANSWER_LIMIT_MS, stepMs });
    if ('value' in outcome) {
      answered[what] += 1;
      return { value: outcome.value };
    }
    if (!(outcome.thrown instanceof ProviderError)) throw outcome.thrown;
    await world.advance(outcome.thrown.retryAfterMs ?? 0);
    return { kind: outcome.thrown.kind };
  }

  const calls: Readonly<Record<Call, () => Promise<void>>> = {
    async offers() {
      const outcome = await asked('offers', provider.listOffers({}, uncancelled));
      if ('value' in outcome) offers = outcome.value.offers.filter((offer) => vendor.isWanted?.(offer) ?? true);
    },
    async create() {
      const offer = pick(offers);
      if (offer === undefined) return;
      const request = createRequest(world, offer);
      tags.push(request.tag);
      const outcome = await asked('create', provider.createInstance(request, uncancelled));
      const made = vendor.madeWith(request.tag);
      if ('value' in outcome) {
        const isOnItsWay = made.length === 0 && vendor.startsLate;
        if (!isOnItsWay && made.join() !== outcome.value.id) lies.push(`made ${made.join()}, said ${outcome.value.id}`);
      } else if (outcome.kind !== 'ambiguous' && outcome.kind !== 'protocol' && made.length > 0) {
        lies.push(`made ${made.join()}, said ${outcome.kind}`);
      }
    },
    async list() {
      await world.advance(world.limits.listLagMs);
      const before = living();
      const outcome = await asked('list', provider.listInstances(uncancelled));
      if (!('value' in outcome)) return;
      const shown = new Map<string, string | undefined>(outcome.value.map(({ id, tag }) => [id, tag]));
      for (const { id, tag } of before) {
        if (livingTag(id) === undefined) continue;
        if (!shown.has(id)) lies.push(`${id} is not listed`);
        else if (shown.get(id) !== tag) lies.push(`${id} is listed without its tag`);
      }
      for (const [id, tag] of shown) if (tag === undefined) lies.push(`${id} is listed without a tag`);
    },
    async get() {
      const id = somebody();
      if (id === undefined) return;
      const outcome = await asked('get', provider.getInstance(instanceId(id), uncancelled));
      if (!('value' in outcome)) return;
      const isLiving = livingTag(id) !== undefined;
      if (outcome.value === undefined && isLiving) lies.push(`get does not know ${id}`);
      if (outcome.value !== undefined && !isLiving && vendor.isLieOfTheDead(outcome.value))
        lies.push(`get says ${outcome.value.state} of ${id}, which is no more`);
    },
    async destroy() {
      const id = somebody();
      if (id !== undefined) await destroy(id);
    },
  };

  async function destroy(id: string): Promise<void> {
    const outcome = await asked('destroy', provider.destroyInstance(instanceId(id), uncancelled));
    if ('value' in outcome && livingTag(id) !== undefined && vendor.isLieOfTheLiving(outcome.value))
      lies.push(`destroy says ${outcome.value} of ${id}, which lives`);
  }

  for (let step = 0; step < steps; step += 1) {
    if (pauseMs > 0) await world.advance(Math.floor(random.next() * pauseMs));
    const drawn = drawCall(random.next() * 100);
    await calls[offers.length === 0 ? 'offers' : drawn]();
  }
  const unheard = Object.entries(answered).flatMap(([call, times]) => (times < ENOUGH ? [call] : []));

  for (let round = 0; round < ENDING_ROUNDS; round += 1) {
    const outcome = await asked('list', provider.listInstances(uncancelled));
    const ours = 'value' in outcome ? outcome.value.filter(({ tag }) => tag !== undefined && tags.includes(tag)) : undefined;
    if (ours?.length === 0) break;
    for (const { id } of ours ?? []) await destroy(id);
    await world.advance(ENDING_PAUSE_MS);
  }
  return { lies, left: living().map(({ id }) => id), unheard };
}

/** Nothing lied, left or unheard. */
export const CALM = { lies: [], left: [], unheard: [] } as const;

function drawCall(chance: number): Call {
  let upTo = 0;
  for (const [call, share] of Object.entries(SHARES) as [keyof typeof SHARES, number][]) {
    upTo += share;
    if (chance < upTo) return call;
  }
  return 'destroy';
}
