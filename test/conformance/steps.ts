import assert from 'node:assert/strict';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import type { CallOptions, CreateRequest } from '../../src/provider/provider.ts';
import { aCreateRequest, uncancelled } from '../support/provider-calls.ts';
import type { AccountControls, ConformanceWorld } from './world.ts';

type World = Pick<ConformanceWorld, 'advance' | 'clock' | 'limits'>;

/** The outcome of a call, while time passes, at most `stepMs` at once; fails when there is none within `limitMs`. */
export async function settled<Result>(
  world: World,
  call: Promise<Result>,
  {
    limitMs = world.limits.answerMs,
    stepMs: longestStepMs = 50,
  }: { readonly limitMs?: number | undefined; readonly stepMs?: number | undefined } = {},
): Promise<{ readonly value: Result } | { readonly thrown: unknown }> {
  let outcome: { readonly value: Result } | { readonly thrown: unknown } | undefined;
  const done = call.then(
    (value) => (outcome = { value }),
    (thrown: unknown) => (outcome = { thrown }),
  );
  const until = world.clock.monotonicMs() + limitMs;
  for (let stepMs = 0; !outcome && world.clock.monotonicMs() <= until; stepMs = Math.min(stepMs * 2 + 1, longestStepMs)) {
    await world.advance(stepMs);
  }
  assert.ok(outcome, `the provider gave no answer within ${limitMs} ms`);
  return done;
}

/** The answer of a call that has to succeed. */
export async function answer<Result>(world: World, call: Promise<Result>, limitMs?: number): Promise<Result> {
  const outcome = await settled(world, call, { limitMs });
  if ('thrown' in outcome) assert.fail(`the provider should have answered, but threw ${String(outcome.thrown)}`);
  return outcome.value;
}

/** The error of a call that has to fail. */
export async function refusal(world: World, call: Promise<unknown>, limitMs?: number): Promise<unknown> {
  const outcome = await settled(world, call, { limitMs });
  if ('value' in outcome) assert.fail(`the provider should have thrown, but answered ${JSON.stringify(outcome.value)}`);
  return outcome.thrown;
}

/** Fails unless it is a ProviderError of one of the kinds. */
export function assertKind(thrown: unknown, ...kinds: readonly ProviderErrorKind[]): asserts thrown is ProviderError {
  assert.ok(thrown instanceof ProviderError, `a provider throws ProviderErrors only, but this threw ${String(thrown)}`);
  assert.ok(
    kinds.length === 0 || kinds.includes(thrown.kind),
    `the error should be ${kinds.join(' or ')}, but is ${thrown.kind}: ${thrown.message}`,
  );
}

/** What `probe` finds first, looking again and again as time passes; fails with `what` when it finds nothing within `limitMs`. */
export async function eventually<Found>(
  world: World,
  { what, limitMs, probe }: { what: string; limitMs: number; probe: () => Promise<Found | undefined> },
): Promise<Found> {
  const until = world.clock.monotonicMs() + limitMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (world.clock.monotonicMs() > until) assert.fail(`${what}, but not within ${limitMs} ms`);
    await world.advance(Math.min(200, Math.max(10, limitMs / 20)));
  }
}

export const listOffers = async (world: ConformanceWorld, query = {}) =>
  answer(world, world.provider.listOffers(query, uncancelled));

export async function someOffer(world: ConformanceWorld): Promise<Offer> {
  const { offers } = await listOffers(world);
  // a bid may lose to somebody's: an offer at a fixed price, where there is one
  const [offer] = [...offers].sort(
    (a, b) => Number(a.interruptible) - Number(b.interruptible) || a.priceMicrosPerHour - b.priceMicrosPerHour,
  );
  assert.ok(offer, 'the suite needs at least one offer');
  return offer;
}

/** Nothing of these may be found in an error. */
export const SECRET_VALUE = 'conformance-token-Zm9vYmFy';
const PUBLIC_KEYS = ['consumer', 'probe'].map((comment) => generateSshKeyPair(comment).publicKey);
export const SENT_SECRETS: readonly string[] = [SECRET_VALUE, ...PUBLIC_KEYS.map((line) => line.split(' ')[1] ?? line)];

export function createRequest(world: ConformanceWorld, offer: Offer, overrides: Partial<CreateRequest> = {}): CreateRequest {
  const tag = overrides.tag ?? world.newTag();
  return aCreateRequest(offer, {
    tag,
    sshPublicKeys: PUBLIC_KEYS,
    // a provider that can hand over no variable has to refuse them
    environment: { BERTH_TAG: tag, ...(world.provider.capabilities.environment && { HF_TOKEN: SECRET_VALUE }) },
    ...overrides,
  });
}

export const createLimitMs = ({ provider, limits }: ConformanceWorld) =>
  provider.capabilities.createTimeoutMs + limits.answerMs;

/** A new instance on some offer. */
export async function created(
  world: ConformanceWorld,
  overrides: Partial<CreateRequest> = {},
): Promise<{ readonly instance: Instance; readonly offer: Offer; readonly request: CreateRequest }> {
  const offer = overrides.offer ?? (await someOffer(world));
  const request = createRequest(world, offer, overrides);
  const instance = await answer(world, world.provider.createInstance(request, uncancelled), createLimitMs(world));
  return { instance, offer, request };
}

export const listed = async (world: ConformanceWorld): Promise<readonly Instance[]> =>
  answer(world, world.provider.listInstances(uncancelled));

export const got = async (world: ConformanceWorld, id: InstanceId): Promise<Instance | undefined> =>
  answer(world, world.provider.getInstance(id, uncancelled));

export const destroyed = async (world: ConformanceWorld, id: InstanceId): Promise<'destroying' | 'gone'> =>
  answer(world, world.provider.destroyInstance(id, uncancelled));

/** Its first appearance in a list; a new instance may be missing from lists for as long as the provider declares. */
export const firstListed = (world: ConformanceWorld, wanted: (instance: Instance) => boolean): Promise<Instance> =>
  eventually(world, {
    what: 'a list should show the instance',
    limitMs: world.limits.listLagMs + world.limits.answerMs,
    probe: async () => (await listed(world)).find(wanted),
  });

export const untilGone = (world: ConformanceWorld, id: InstanceId): Promise<true> =>
  eventually(world, {
    what: `the instance ${id} should be gone`,
    limitMs: world.limits.goneMs,
    probe: async () => ((await destroyed(world, id)) === 'gone' ? true : undefined),
  });

/** Until no list can hide an instance that was made by now. */
export const pastTheListLag = async (world: ConformanceWorld): Promise<void> => world.advance(world.limits.listLagMs);

/** A control that the check has named in `needs`. */
export function control<Name extends keyof AccountControls>(
  world: ConformanceWorld,
  name: Name,
): NonNullable<AccountControls[Name]> {
  const found = world.controls[name];
  if (found === undefined) throw new Error(`the check does not name ${name} among its needs`);
  return found;
}

/** Every call of the provider, so that what holds for all of them can be asked of each. */
export function everyCall(
  world: ConformanceWorld,
  { id, request }: { readonly id: InstanceId; readonly request: CreateRequest },
): readonly { readonly operation: ProviderOperation; readonly call: (options: CallOptions) => Promise<unknown> }[] {
  const { provider } = world;
  const { balance, ensureSshKeys } = provider;
  return [
    { operation: 'ListOffers', call: (options) => provider.listOffers({}, options) },
    { operation: 'ListAllInstances', call: (options) => provider.listInstances(options) },
    { operation: 'GetInstanceStatus', call: (options) => provider.getInstance(id, options) },
    { operation: 'Check', call: (options) => provider.check(options) },
    { operation: 'CreateInstance', call: (options) => provider.createInstance(request, options) },
    { operation: 'DestroyInstance', call: (options) => provider.destroyInstance(id, options) },
    ...(balance ? [{ operation: 'GetBalance' as const, call: (options: CallOptions) => balance.call(provider, options) }] : []),
    ...(ensureSshKeys
      ? [
          {
            operation: 'AttachSSHKey' as const,
            call: (options: CallOptions) => ensureSshKeys.call(provider, id, request.sshPublicKeys, options),
          },
        ]
      : []),
  ];
}

/** Turns a call that throws at once into one that rejects, so that both are judged alike. */
export async function attempt<Result>(call: () => Promise<Result>): Promise<Result> {
  return call();
}
