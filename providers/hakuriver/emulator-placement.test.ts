import { describe, expect, it } from 'vitest';
import { withCluster } from '../../test/emulators/hakuriver/test-client.ts';
import type { TestClient } from '../../test/emulators/hakuriver/test-client.ts';

const two = { nodes: [{ hostname: 'node-1', cores: 2 }, { hostname: 'node-2', cores: 4 }] }; // prettier-ignore

describe('refusals', () => {
  it('EMU-H22: have four shapes: text in detail, a list of complaints, plain text, and a Python list within a text', () =>
    withCluster(two, async ({ submit, call }) => {
      const refused = async (more: object) => {
        const { status, text } = await submit('key', { ...more });
        return `${status} ${text}`;
      };
      const schedule = (target: string, reason: string) =>
        `503 {"detail":"Failed to schedule task for any target. Failures: [{'target': '${target}', 'reason': '${reason}'}]"}`;

      expect(await refused({ task_type: 'vm' })).toBe(
        `400 {"detail":"Invalid task type. Only 'command' and 'vps' are supported."}`,
      );
      expect(await refused({ container_name: 'NULL' })).toBe('400 {"detail":"VPS tasks require a Docker container."}');
      expect(await refused({ targets: ['node-1', 'node-2'] })).toContain(
        '400 {"detail":"VPS tasks cannot be submitted to multiple',
      );
      expect(await refused({ targets: null, required_gpus: [[0]] })).toContain('400 {"detail":"No target node specified');
      expect(await refused({ targets: ['node_1'] })).toMatch(/^422 \{"detail":\[\{"type":"value_error"/);
      expect(await refused({ required_cores: -1 })).toMatch(/^422 \{"detail":\[\{"type":"greater_than_equal"/);
      expect(await refused({ required_cores: 'many' })).toMatch(/^422 /);
      expect(await refused({ targets: null, required_cores: 99 })).toBe('500 Internal Server Error');
      expect(await refused({ targets: ['node-9'] })).toBe(schedule('node-9', 'Node not registered'));
      expect(await refused({ targets: ['node-1:7'] })).toBe(schedule('node-1:7', 'Invalid NUMA ID for node (Valid: [0])'));
      expect(await refused({ required_cores: 99 })).toBe(schedule('node-1', 'Insufficient available cores'));
      expect(await refused({ required_memory_bytes: 9e15 })).toBe(schedule('node-1', 'Insufficient available memory'));
      expect((await call('POST', '/submit', '{')).text).toContain('json_invalid');
      expect((await call('GET', '/status/abc')).status).toBe(422);
      expect([(await call('GET', '/status/1')).status, (await call('POST', '/kill/1')).status]).toEqual([404, 404]);
      expect([(await call('GET', '/instances')).status, (await call('GET', '/submit')).status]).toEqual([404, 405]);
      expect((await call('GET', '/vps')).list).toEqual([]);
    }));

  it('EMU-H24: of GPUs that are not there, or in use; ids must be named, and a target with them', () =>
    withCluster({}, async ({ submit, key, rent }) => {
      const id = await rent(key().publicKey, { required_gpus: [[0]] });
      expect(id).toMatch(/^\d+$/);
      expect((await submit(key().publicKey, { required_gpus: [[0, 1]] })).text).toContain('Requested GPUs not available');
      expect((await submit(key().publicKey, { required_gpus: [[2]] })).text).toContain('Invalid GPU IDs: [2]');
      expect((await submit(key().publicKey, { required_gpus: [[1]] })).status).toBe(202);
    }));

  it('EMU-H25: of GPU lists that do not fit the targets, after the first target has been started', () =>
    withCluster({}, async ({ submit, key, call, emulator }) => {
      const answer = await submit(key('mine').publicKey, { required_gpus: [[0], [1]] });
      expect([answer.status, answer.text]).toEqual([500, 'Internal Server Error']);
      const [row] = (await call('GET', '/vps')).list;
      expect(emulator.livingWithTag('mine')).toEqual([row?.['task_id']]);
    }));

  it('EMU-H22: H and K say it in JSON, and check the lists before', () =>
    withCluster({ dialect: 'H', ...two }, async ({ submit, call }) => {
      expect((await submit('key', { targets: null, required_cores: 99 })).status).toBe(503);
      expect((await submit('key', { required_gpus: [[0], [1]] })).status).toBe(400);
      expect((await call('GET', '/vps')).list).toEqual([]);
    }));
});

describe('placement', () => {
  it('EMU-H23: P and S fill the fullest node that has the cores, H and K take the emptiest', async () => {
    for (const [dialect, expected] of [
      ['S', 'node-1'],
      ['H', 'node-2'],
    ] as const) {
      // prettier-ignore
      await withCluster({ dialect, ...two }, async ({ call }) => {
        const answer = await call('POST', '/submit', { command: 'sleep', arguments: ['60'], required_cores: 1 });
        expect(answer.json['assigned_node']).toMatchObject({ hostname: expected });
      });
    }
  });

  it('EMU-H23: 0 cores count nowhere, and go onto a full node', () =>
    withCluster(two, async ({ rent, key, submit, call }) => {
      await rent(key().publicKey, { required_cores: 2 });
      expect((await submit(key().publicKey)).status).toBe(503);
      expect((await submit(key().publicKey, { required_cores: 0 })).status).toBe(202);
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ cores_in_use: 2, available_cores: 0 });
    }));

  it('EMU-H23: a row that is pending for ever takes no cores, but its GPUs', () =>
    withCluster({}, async ({ submit, key, call }) => {
      await submit(key().publicKey, { required_cores: 16, required_gpus: [[0]], container_name: 'no-manager' });
      expect((await call('GET', '/nodes')).list[0]).toMatchObject({ cores_in_use: 0, available_cores: 16 });
      expect((await submit(key().publicKey, { required_gpus: [[0]] })).text).toContain('Requested GPUs not available');
    }));

  it('EMU-E14: of two submits at once for one GPU exactly one wins; for the same cores P and S let both win', () =>
    withCluster({ knobs: { runMs: 1_400 } }, async ({ submit, key, listed, emulator }) => {
      const gpu = { required_gpus: [[1]] };
      const race = [submit(key('gpu').publicKey, gpu), submit(key('gpu').publicKey, gpu)];
      race.push(submit(key('cores').publicKey, { required_cores: 16 }), submit(key('cores').publicKey, { required_cores: 16 }));
      await listed(3);
      emulator.advance(1_400);
      const statuses = (await Promise.all(race)).map(({ status }) => status);
      expect(new Set(statuses.slice(0, 2))).toEqual(new Set([202, 503]));
      expect(statuses.slice(2)).toEqual([202, 202]);
      expect(emulator.livingWithTag('cores')).toHaveLength(2);
    }));

  it('EMU-E13: somebody else may have just taken the node', () =>
    withCluster({ knobs: { goneBeforeCreateShare: 1 } }, async ({ submit, key, emulator, call }) => {
      const before = (await call('GET', '/nodes')).list[0];
      expect(before).toMatchObject({ available_cores: 16 });
      expect((await submit(key().publicKey)).text).toContain('Insufficient available cores');
      expect((await submit(key().publicKey, { required_gpus: [[0]] })).text).toContain('Requested GPUs not available');
      emulator.setKnobs({ goneBeforeCreateShare: 0 });
      emulator.advance(60_000);
      expect((await submit(key().publicKey)).status).toBe(202);
    }));

  it('is taken and given back by a test', () =>
    withCluster({}, async ({ submit, key, emulator }: TestClient) => {
      emulator.occupy('node-1', { cores: 0, gpus: [1] });
      expect((await submit(key().publicKey, { required_gpus: [[1]] })).status).toBe(503);
      emulator.vacate('node-1');
      expect((await submit(key().publicKey, { required_gpus: [[1]] })).status).toBe(202);
    }));
});
