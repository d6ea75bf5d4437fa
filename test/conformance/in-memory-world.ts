import { seededRandom } from '../../src/core/random.ts';
import { decorate } from '../../src/provider/decorators/decorate.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { aTemplate } from '../support/in-memory-account.ts';
import type { Fault } from '../support/in-memory-account.ts';
import { createInMemoryProvider } from '../support/in-memory-provider.ts';
import type { InMemoryProvider } from '../support/in-memory-provider.ts';
import { recordingLog } from '../support/log.ts';
import { aTag } from '../support/provider-calls.ts';
import type { AccountFault, ConformanceWorld } from './world.ts';

export const ACCOUNT_KEY = 'account-key-0123456789';

const FAULTS: Readonly<Record<AccountFault, Fault>> = {
  capacity: { do: 'fail', kind: 'capacity' },
  rate_limited: { do: 'fail', kind: 'rate_limited', retryAfterMs: 700 },
  unavailable: { do: 'fail', kind: 'unavailable' },
  auth: { do: 'fail', kind: 'auth' },
  funds: { do: 'fail', kind: 'funds' },
  unreadable: { do: 'fail', kind: 'protocol' },
  'lost answer': { do: 'lose-answer' },
  'no answer': { do: 'hang', done: true },
};

export interface InMemoryWorld extends ConformanceWorld {
  readonly clock: FakeClock;
  readonly account: InMemoryProvider['account'];
}

/** A market in memory with every control, under fake time. `wrap` puts something round the provider: the decorators, or a fault of its own. */
export async function makeInMemoryWorld(
  wrap: (world: InMemoryWorld) => Provider = ({ provider }) => provider,
): Promise<InMemoryWorld> {
  const clock = new FakeClock();
  const { provider, account } = createInMemoryProvider({
    clock,
    settings: { createMs: 20, bootMs: 8_000, destroyMs: 1_000, listLagMs: 500 },
  });
  account.templates = [aTemplate(), aTemplate({ id: 2, hashId: 'abcd0002', name: 'Other', needs: [] })];
  let tags = 0;
  let foreign = 0;
  const world: InMemoryWorld = {
    provider,
    account,
    clock,
    advance: (ms) => clock.advance(ms),
    newTag: () => aTag((tags += 1)),
    unknownId: instanceId('i-0'),
    secrets: [ACCOUNT_KEY],
    limits: { answerMs: 15_000, bootMs: 10_000, goneMs: 10_000, listLagMs: 600 },
    controls: {
      plantForeign: async () => {
        foreign += 1;
        if (foreign % 2 === 0) return { id: account.plant() };
        const tag = aTag(foreign, { deployment: 'other' });
        return { id: account.plant({ tag }), tag };
      },
      pageSize: account.settings.pageSize,
      takeOffer: async (offer) => account.takeOffer(offer),
      fault: (operation, fault) => account.failAlways(operation, FAULTS[fault]),
      heal: () => account.heal(),
      setUnknownWord: async (id) => account.setWord(id, 'defragmenting'),
      preempt: async (id) => account.setWord(id, 'parked'),
      livingWithTag: async (tag) => account.livingWithTag(tag).map(({ id }) => id),
    },
    close: async () => {},
  };
  return { ...world, provider: wrap(world) };
}

/** The same behind everything that the broker puts round a provider. */
export const makeDecoratedWorld = () =>
  makeInMemoryWorld(({ provider, clock }) =>
    decorate(provider, { clock, random: seededRandom(1), log: recordingLog(), metrics: { call: () => {} } }),
  );
