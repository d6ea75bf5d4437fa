import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import { SCENARIOS } from '../../test/emulators/hakuriver/knobs.ts';

const HOUR_MS = 3_600_000;

describe('the common rows', () => {
  it('EMU-E1: takes its time, by the handed clock', () =>
    withCluster({ clock: systemClock, knobs: { latencyMedianMs: 40, latencyP99Ms: 40 } }, async ({ call }) => {
      const before = systemClock.monotonicMs();
      await call('GET', '/nodes');
      expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(39);
    }));

  it('EMU-E2: carries a submit out and loses the answer, by a cut or by silence', () =>
    withCluster({}, async ({ emulator, submit, key }) => {
      emulator.injectFault({ method: 'POST', path: '^/submit$', kind: 'reset-after' });
      await expect(submit(key('cut').publicKey)).rejects.toThrow();
      expect(emulator.livingWithTag('cut')).toHaveLength(1);

      emulator.injectFault({ method: 'POST', path: '^/submit$', kind: 'silence-after' });
      const silent = await Promise.race([submit(key('silent').publicKey), systemClock.sleep(150).then(() => 'silence')]);
      expect(silent).toBe('silence');
      expect(emulator.livingWithTag('silent')).toHaveLength(1);
    }));

  it('EMU-E3: cuts before anything has happened', () =>
    withCluster({}, async ({ emulator, submit, key, call }) => {
      emulator.injectFault({ path: '^/submit$', kind: 'reset-before' });
      await expect(submit(key('mine').publicKey)).rejects.toThrow();
      expect(emulator.livingWithTag('mine')).toEqual([]);
      expect((await call('GET', '/vps')).list).toEqual([]);
    }));

  it('EMU-E4: answers with the page of a proxy before it, or with its own plain 500', () =>
    withCluster({ knobs: { htmlShare: 1 } }, async ({ emulator, call }) => {
      const page = await call('GET', '/nodes');
      expect([page.status, page.headers.get('content-type')]).toEqual([502, 'text/html']);
      emulator.setKnobs({ htmlShare: 0, errorShare: 1 });
      expect(await call('GET', '/nodes')).toMatchObject({ status: 500, text: 'Internal Server Error' });
    }));

  it('EMU-E5: has no limit of its own; a 429 is that of a proxy', () =>
    withCluster({}, async ({ emulator, call }) => {
      const many = await Promise.all(Array.from({ length: 60 }, () => call('GET', '/nodes')));
      expect(new Set(many.map(({ status }) => status))).toEqual(new Set([200]));
      emulator.setKnobs({ throttleShare: 1 });
      expect((await call('GET', '/nodes')).status).toBe(429);
    }));

  it('EMU-E6 EMU-E7: lists a row before its submit has answered, and for ever after its end', () =>
    withCluster({ knobs: { runMs: 1_400 } }, async ({ submit, key, listed, emulator, call }) => {
      const submitted = submit(key().publicKey);
      const [id = ''] = await listed(1);
      emulator.advance(1_400);
      await submitted;
      await call('POST', `/kill/${id}`);
      emulator.advance(24 * HOUR_MS);
      expect((await call('GET', '/vps')).list).toMatchObject([{ task_id: id, status: 'killed' }]);
    }));

  it('EMU-E8: cuts its JSON in the middle', () =>
    withCluster({}, async ({ emulator, call }) => {
      emulator.injectFault({ path: '^/nodes$', kind: 'half' });
      await expect(call('GET', '/nodes')).rejects.toThrow();
    }));

  it('EMU-E10 EMU-E11: says a state that no version writes, nulls where there may be one, and fields that nobody knows', () =>
    withCluster({}, async ({ emulator, rent, key, status, call }) => {
      const id = await rent(key().publicKey);
      emulator.setKnobs({ unknownStatusShare: 1, everyOptionalNull: true, extraFields: true });
      expect(await status(id)).toMatchObject({ status: 'defragmenting', colour: 'teal' });
      expect((await call('GET', '/nodes')).list[2]).toMatchObject({
        numa_topology: null,
        gpu_info: null,
        nested: { depth: [1, null] },
      });
      emulator.setKnobs({ unknownStatusShare: 0 });
      expect((await status(id))['status']).toBe('running');
    }));

  it('EMU-E15: leaves a start hanging, by chance', () =>
    withCluster({ knobs: { neverStartsShare: 0.5 } }, async ({ submit, key, call }) => {
      for (let count = 0; count < 12; count += 1) await submit(key().publicKey, { required_cores: 0 });
      const statuses = (await call('GET', '/vps')).list.map((row) => row['status']);
      expect(new Set(statuses)).toEqual(new Set(['pending', 'running']));
    }));

  it('EMU-E16: loses Runners and restarts containers by chance; what they had lives on', () =>
    withCluster({ knobs: { runnerDeathPerHour: 20, runnerReturnMs: 60_000, restartPerHour: 20 } }, async (client) => {
      const { rent, key, emulator, status, call, portOf } = client;
      emulator.setKnobs({ runnerDeathPerHour: 0 });
      const id = await rent(key('mine').publicKey);
      const told = await portOf(id);
      for (let minute = 0; minute < 60; minute += 1) {
        emulator.advance(60_000);
        await call('GET', '/nodes');
      }
      expect((await status(id))['status']).toBe('lost');
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ status: 'online' });
      expect(emulator.livingWithTag('mine')).toEqual([id]);
      expect(emulator.ledger()[0]?.sshPort).not.toBe(told);
    }));

  it('EMU-E17: counts what lives from its start to its real end, also what its Host has forgotten to end', () =>
    withCluster({}, async ({ rent, key, call, emulator }) => {
      const id = await rent(key('mine').publicKey);
      await emulator.killRunner('node-1');
      await call('POST', `/kill/${id}`);
      emulator.advance(HOUR_MS);
      expect(emulator.ledger()).toMatchObject([
        { taskId: id, status: 'killed', isLiving: true, livedMs: HOUR_MS, tags: ['mine'] },
      ]);
      emulator.removeContainer(id);
      emulator.advance(HOUR_MS);
      expect(emulator.ledger()).toMatchObject([{ isLiving: false, livedMs: HOUR_MS }]);
    }));

  it('EMU-E18: tells its times by its own clock', () =>
    withCluster({ knobs: { clockSkewMs: -90_000 } }, async ({ call }) => {
      const [node] = (await call('GET', '/nodes')).list;
      expect(node?.['last_heartbeat']).toMatch(/^2026-11-22T03:31:30/);
    }));
});

describe('what a test does with it', () => {
  it('EMU-H38: every scenario sets knobs that there are, and a seed repeats a run', async () => {
    const run = (scenario: string) =>
      withCluster({ scenario, knobs: { latencyMedianMs: 0 } }, async ({ call, emulator }) => {
        emulator.setKnobs({ silenceAfterShare: 0, resetBeforeShare: 0, halfBodyShare: 0 });
        const seen: number[] = [];
        for (let count = 0; count < 20; count += 1) seen.push((await call('GET', '/nodes')).status);
        return seen;
      });
    for (const scenario of Object.keys(SCENARIOS)) expect(await run(scenario)).toEqual(await run(scenario));
    expect(new Set(await run('calm'))).toEqual(new Set([200]));
    expect(new Set(await run('stress')).size).toBeGreaterThan(1);
  });

  it('EMU-H38: its GPUs may be other than it told', () =>
    withCluster({ knobs: { specLie: 'vram' } }, async ({ rent, key, ssh, emulator }) => {
      const own = key();
      const id = await rent(own.publicKey, { required_gpus: [[0]] });
      const asked = 'nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits';
      expect(await ssh(id, own.privateKey, asked)).toBe('12282\n');
      emulator.setKnobs({ specLie: 'no-gpus' });
      expect(await ssh(id, own.privateKey, asked)).toBe('No devices were found\n');
    }));
});
