import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { Knobs, SCENARIOS } from '../emulators/hakuriver/knobs.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { makeHakuWorld } from './hakuriver-world.ts';
import { createRequest, settled } from './steps.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

/**
 * Resets, pages, halves, machines that never start or start too late, updates that are lost, words that nobody knows. Two accidents are told in
 * stories of their own, since what runs can then not be known: machines whose Runner dies, and containers that move to another port.
 */
const STORM = Knobs.parse({
  ...SCENARIOS['stress'],
  latencyMedianMs: 0,
  latencyP99Ms: 0,
  runnerDeathPerHour: 0,
  restartPerHour: 0,
  goneBeforeCreateShare: 0.1,
  slowShare: 0.05,
  neverStartsShare: 0.1,
  // each costs five minutes of the storm's time; what is left without an answer is held by the checks
  silenceAfterShare: 0,
  // a create asks four times before it is sent, and twice after: with more than this none would ever come through
  resetBeforeShare: 0.03,
  htmlShare: 0.03,
  errorShare: 0.03,
  throttleShare: 0.02,
});

it.each([
  ['P', 1],
  ['P', 2],
  ['S', 3],
  ['K', 4],
  ['K', 5],
] as const)(
  'storm at dialect %s, %i: tells no lie of a cluster in which everything goes wrong, and leaves nothing',
  { timeout: 60_000 },
  async (dialect, seed) => {
    const world = await makeHakuWorld({ seed, dialect, knobs: STORM });
    const { provider, emulator } = world;
    const random = seededRandom(seed);
    const pick = <T>(values: readonly T[]): T | undefined => values[Math.floor(random.next() * values.length)];
    const lies: string[] = [];
    const done = { offers: 0, create: 0, list: 0, get: 0, destroy: 0 };
    const tags: string[] = [];
    let offers: readonly Offer[] = [];

    const livingWith = (tag: string) => emulator.livingWithTag(tag);
    const madeWith = (tag: string) => [...emulator.startingWithTag(tag), ...livingWith(tag)];
    const ours = () => tags.flatMap((tag) => livingWith(tag).map((id) => ({ id, tag })));
    const isLiving = (id: string) => ours().some((each) => each.id === id);
    const somebody = () =>
      pick(emulator.ledger().filter(({ tags: theirs }) => theirs.some((tag) => tags.includes(tag))))?.taskId;

    /** The value or the kind of a call's error; whatever is no ProviderError is a lie in itself. */
    const asked = async <T>(what: keyof typeof done, call: Promise<T>) => {
      const outcome = await settled(world, call, 30 * MINUTE_MS);
      if ('value' in outcome) {
        done[what] += 1;
        return { value: outcome.value };
      }
      if (!(outcome.thrown instanceof ProviderError)) throw outcome.thrown;
      await world.advance(outcome.thrown.retryAfterMs ?? 0);
      return { kind: outcome.thrown.kind };
    };
    const create = async () => {
      const offer = pick(offers.filter(({ gpuCount }) => gpuCount === 1)); // or the cluster would soon be full
      if (offer === undefined) return;
      const request = createRequest(world, offer);
      tags.push(request.tag);
      const outcome = await asked('create', provider.createInstance(request, uncancelled));
      const made = madeWith(request.tag);
      const said = 'value' in outcome ? outcome.value?.id : undefined;
      if (said !== undefined && made.some((id) => id !== said)) lies.push(`made ${made.join()}, said ${said}`);
      const isOpen = 'kind' in outcome && (outcome.kind === 'ambiguous' || outcome.kind === 'protocol');
      if ('kind' in outcome && !isOpen && made.length > 0) lies.push(`made ${made.join()}, said ${outcome.kind}`);
    };
    const list = async () => {
      const before = ours();
      const outcome = await asked('list', provider.listInstances(uncancelled));
      if (!('value' in outcome)) return;
      const shown = new Map<string, string | undefined>(outcome.value.map(({ id, tag }) => [id, tag]));
      for (const { id, tag } of before) {
        if (!isLiving(id)) continue;
        if (!shown.has(id)) lies.push(`${id} is not listed`);
        else if (shown.get(id) !== tag) lies.push(`${id} is listed without its tag`);
      }
    };
    const get = async () => {
      const id = somebody();
      if (id === undefined) return;
      const outcome = await asked('get', provider.getInstance(instanceId(id), uncancelled));
      if ('value' in outcome && outcome.value === undefined && isLiving(id)) lies.push(`get denies ${id}`);
    };
    const destroy = async (id = somebody()) => {
      if (id === undefined) return undefined;
      const outcome = await asked('destroy', provider.destroyInstance(instanceId(id), uncancelled));
      if ('value' in outcome && outcome.value === 'gone' && isLiving(id)) lies.push(`destroy says gone of ${id}, which lives`);
      return 'value' in outcome ? outcome.value : undefined;
    };

    for (let step = 0; step < 150; step += 1) {
      await world.advance(Math.floor(random.next() * 10 * SECOND_MS));
      const chance = random.next();
      if (chance < 0.2 || offers.length === 0) {
        const outcome = await asked('offers', provider.listOffers({}, uncancelled));
        if ('value' in outcome) offers = outcome.value.offers;
      } else if (chance < 0.5) await create();
      else if (chance < 0.6) await list();
      else if (chance < 0.8) await get();
      else await destroy();
    }
    // every one that the list shows with a tag of ours ends, as the broker would have it
    for (let round = 0; round < 60; round += 1) {
      const outcome = await asked('list', provider.listInstances(uncancelled));
      const left = 'value' in outcome ? outcome.value.filter(({ tag }) => tag !== undefined && tags.includes(tag)) : undefined;
      if (left?.length === 0) break;
      for (const { id } of left ?? []) await destroy(id);
      await world.advance(20 * SECOND_MS);
    }

    expect(lies).toEqual([]);
    expect(ours()).toEqual([]);
    expect(Math.min(...Object.values(done))).toBeGreaterThan(3);
    await world.close();
  },
);
