import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { Knobs, SCENARIOS } from '../emulators/tensordock/knobs.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { createRequest } from './steps.ts';
import { makeTensorDockWorld } from './tensordock-world.ts';
import type { TensorDockWorld } from './tensordock-world.ts';

/** Answers take up to a minute here, so that time goes on in large steps; it stops at whatever is due on the way. */
const STEP_MS = 2_000;
const LONGEST_MS = 30 * 60_000;

async function outcomeOf<Result>(
  world: TensorDockWorld,
  call: Promise<Result>,
): Promise<{ readonly value: Result } | { readonly thrown: unknown }> {
  let isSettled = false;
  const outcome = call.then(
    (value) => ({ value }),
    (thrown: unknown) => ({ thrown }),
  );
  void outcome.then(() => (isSettled = true));
  const until = world.clock.monotonicMs() + LONGEST_MS;
  while (!isSettled) {
    if (world.clock.monotonicMs() > until) throw new Error('no answer within half an hour');
    await world.advance(STEP_MS);
  }
  return outcome;
}

/** Resets, throttles and halves, creates that mostly fail, words that nobody knows, and every answer late. */
const STORM = Knobs.parse({ ...SCENARIOS['stress'], noNodeShare: 0.3 });

it.each([1, 2, 3])('storm %i: tells no lie of an account in which everything goes wrong', { timeout: 60_000 }, async (seed) => {
  const world = await makeTensorDockWorld({ seed, mode: 'strict', roulette: true, knobs: STORM });
  const { provider, emulator } = world;
  const random = seededRandom(seed);
  const pick = <T>(values: readonly T[]): T | undefined => values[Math.floor(random.next() * values.length)];
  const alive = () => emulator.instances().filter(({ isAlive }) => isAlive);
  const isAlive = (id: string) => alive().some((each) => each.id === id);
  const lies: string[] = [];
  const done = { offers: 0, create: 0, list: 0, get: 0, destroy: 0 };
  const made: string[] = [];
  let offers: readonly Offer[] = [];

  /** The value or the error of a call; whatever is no ProviderError is a lie in itself. */
  const asked = async <T>(what: keyof typeof done, call: Promise<T>) => {
    const outcome = await outcomeOf(world, call);
    if ('value' in outcome) {
      done[what] += 1;
      return { value: outcome.value };
    }
    if (!(outcome.thrown instanceof ProviderError)) throw outcome.thrown;
    await world.advance(outcome.thrown.retryAfterMs ?? 0);
    return { kind: outcome.thrown.kind };
  };
  const create = async () => {
    const offer = pick(offers);
    if (offer === undefined) return;
    const request = createRequest(world, offer);
    const outcome = await asked('create', provider.createInstance(request, uncancelled));
    const living = alive().flatMap(({ id, name }) => (name === request.tag ? [id] : []));
    made.push(...living);
    if ('value' in outcome && living.join() !== outcome.value.id) lies.push(`made ${living.join()}, said ${outcome.value.id}`);
    const isOpen = 'kind' in outcome && (outcome.kind === 'ambiguous' || outcome.kind === 'protocol');
    if ('kind' in outcome && !isOpen && living.length > 0) lies.push(`made ${living.join()}, said ${outcome.kind}`);
  };
  const list = async () => {
    await world.advance(world.limits.listLagMs);
    const before = alive().map(({ id }) => id);
    const outcome = await asked('list', provider.listInstances(uncancelled));
    if (!('value' in outcome)) return;
    const shown = new Set<string>(outcome.value.map(({ id }) => id));
    lies.push(...before.filter((id) => isAlive(id) && !shown.has(id)).map((id) => `${id} is not listed`));
    lies.push(...outcome.value.flatMap(({ id, tag }) => (tag === undefined ? [`${id} is listed without its tag`] : [])));
  };
  const get = async () => {
    const id = pick(made);
    if (id === undefined) return;
    const outcome = await asked('get', provider.getInstance(instanceId(id), uncancelled));
    if ('value' in outcome && outcome.value === undefined && isAlive(id)) lies.push(`get does not know ${id}`);
    if ('value' in outcome && outcome.value?.state === 'running' && !isAlive(id)) lies.push(`get says that ${id} runs`);
  };
  const destroy = async () => {
    const id = pick(made);
    if (id === undefined) return;
    const outcome = await asked('destroy', provider.destroyInstance(instanceId(id), uncancelled));
    if ('value' in outcome && isAlive(id)) lies.push(`destroy says ${outcome.value} of ${id}, which was not touched`);
  };

  for (let step = 0; step < 120; step += 1) {
    const chance = random.next();
    if (chance < 0.2 || offers.length === 0) {
      const outcome = await asked('offers', provider.listOffers({}, uncancelled));
      if ('value' in outcome) offers = outcome.value.offers;
    } else if (chance < 0.5) await create();
    else if (chance < 0.65) await list();
    else if (chance < 0.85) await get();
    else await destroy();
  }

  expect(lies).toEqual([]);
  expect(Math.min(...Object.values(done))).toBeGreaterThan(3);
  await world.close();
});
