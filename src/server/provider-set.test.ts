import { expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createInMemoryProvider } from '../../test/support/in-memory-provider.ts';
import { recordingLog } from '../../test/support/log.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { instanceId } from '../provider/ids.ts';
import type { Provider } from '../provider/provider.ts';
import { createProviderSet } from './provider-set.ts';

const CONFIGURED_MS = 30_000;
const LONG_MS = 10 * 60_000;

it.each([
  ['as the configuration has it', undefined, { Check: CONFIGURED_MS, ListAllInstances: 120_000, DestroyInstance: 60_000 }],
  ['as the provider needs it', 150_000, { Check: 150_000, ListAllInstances: 150_000, DestroyInstance: 150_000 }],
  [
    'as the configuration has it, where the provider needs less',
    5_000,
    { Check: CONFIGURED_MS, ListAllInstances: 120_000, DestroyInstance: 60_000 },
  ],
])('gives the calls of a provider as much time %s', async (_, callTimeoutMs, expected) => {
  const clock = new FakeClock();
  const log = recordingLog();
  const capabilities = callTimeoutMs === undefined ? {} : { callTimeoutMs };
  const { provider: market } = createInMemoryProvider({ clock, capabilities });
  const silence = ({ signal }: { readonly signal: AbortSignal }) =>
    clock.sleep(LONG_MS, signal).then(() => expect.unreachable());
  const silent: Provider = {
    ...market,
    check: silence,
    listInstances: silence,
    destroyInstance: (_id, options) => silence(options),
  };
  const providers = await createProviderSet({
    configured: [{ id: market.id, environment: {}, create: async () => silent }],
    machinePool: null as never, // a market has no machines of ours
    dataFolder: 'none',
    clock,
    random: { next: () => 0, bytes: (count) => new Uint8Array(count) },
    log,
    metrics: { call: () => {} },
    callTimeoutMs: CONFIGURED_MS,
  });
  const provider = providers.get(market.id);
  if (!provider) throw new Error('the set lacks it');

  const calls = [
    provider.check(uncancelled),
    provider.listInstances(uncancelled),
    provider.destroyInstance(instanceId('1'), uncancelled),
  ];
  const ended = Promise.allSettled(calls);
  await clock.advance(LONG_MS);
  await ended;

  const took = log.entries.filter(({ message }) => message === 'provider call failed').map(({ fields }) => fields);
  expect(took.length).toBeGreaterThanOrEqual(calls.length);
  expect(Object.fromEntries(took.map(({ operation, tookMs }) => [operation, tookMs]))).toEqual(expected);
});
