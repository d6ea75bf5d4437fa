import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { InstanceRecord } from './schema.ts';
import { createSweeps } from './sweeps.ts';

const record = (id: number) => InstanceRecord.parse({ id });
const neverAborted = new AbortController().signal;

function aWorld({ ids = [1, 2, 3, 4, 5, 6], fails = false } = {}) {
  const clock = new FakeClock();
  const calls: string[] = [];
  const { find } = createSweeps({
    clock,
    readAll: async (signal) => {
      calls.push('list');
      await clock.sleep(1_000, signal);
      if (fails) throw new Error('no list');
      return ids.map(record);
    },
  });
  const look = (id: number, signal = neverAborted) =>
    find(String(id), signal, async () => {
      calls.push(`get ${id}`);
      await clock.sleep(2_000, signal);
      return record(id);
    }).then((found) => found?.id);
  return { clock, calls, look };
}

describe('createSweeps', () => {
  it('asks one by one while few ask', async () => {
    const { clock, calls, look } = aWorld();
    const looks = [look(1), look(2)];
    await clock.advance(2_000);

    expect(await Promise.all(looks)).toEqual(['1', '2']);
    expect(calls).toEqual(['get 1', 'get 2']);
  });

  it('CONF-C29: answers a crowd from lists that were begun after they asked', async () => {
    const { clock, calls, look } = aWorld();
    const looks = [1, 2, 3, 4, 5, 6].map((id) => look(id));
    await clock.advance(2_000);

    expect(await Promise.all(looks)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(calls).toEqual(['get 1', 'get 2', 'list', 'list']);
  });

  it.each([
    ['lacks the instance', { ids: [1, 2] }],
    ['fails', { fails: true }],
  ])('never takes a list that %s for an answer', async (_, world) => {
    const { clock, calls, look } = aWorld(world);
    const looks = [1, 2, 3].map((id) => look(id));
    await clock.advance(4_000);

    expect(await Promise.all(looks)).toEqual(['1', '2', '3']);
    expect(calls).toEqual(['get 1', 'get 2', 'list', 'get 3']);
  });

  it('lets one who is cancelled go at once and serves the others', async () => {
    const { clock, look } = aWorld();
    const abort = new AbortController();
    const looks = [look(1), look(2), look(3)];
    const cancelled = expect(look(4, abort.signal)).rejects.toBeDefined();

    abort.abort();
    await cancelled;
    await clock.advance(3_000);

    expect(await Promise.all(looks)).toEqual(['1', '2', '3']);
  });
});
