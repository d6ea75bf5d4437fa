import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OwnershipTag } from '../provider/ownership-tag.ts';
import type { Inventory, RunnerRequest, SessionContainer } from '../runner-protocol/messages.ts';
import type { RunnerLink } from '../runner-protocol/runner-link.ts';
import { recordingLog } from '../../test/support/log.ts';
import { createMachinePool } from './machine-pool.ts';

const TAG = 'berth-test-00000000000000000000000001-1' as OwnershipTag; // of the pattern
const uncancelled = { signal: new AbortController().signal };
const inventory: Inventory = { machineId: 'abcd', machineName: 'here', cpuIds: [0, 1], memoryMib: 8_192, gpus: [] };

const created: SessionContainer = {
  instanceId: `abcd-${'0'.repeat(64)}`,
  tag: TAG,
  state: 'created',
  units: ['cpu:0'],
  cpuIds: [0],
  memoryMib: 1_024,
  createdAt: 1,
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-pool-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A runner that has one container, which a start brings to run unless it is told to fail. */
function aPool({ containers, startFails = false }: { containers: SessionContainer[]; startFails?: boolean }) {
  const answer = (request: RunnerRequest): unknown => {
    switch (request.kind) {
      case 'inventory':
        return { inventory };
      case 'list':
        return { containers };
      case 'get':
        return { container: containers.find(({ instanceId }) => instanceId === request.instanceId) };
      case 'start':
        if (startFails) throw new Error('the engine went away');
        return { container: { ...created, tag: request.order.tag } };
      case 'preflight':
      case 'stop':
        return {};
    }
  };
  const link = { call: async (request: RunnerRequest) => answer(request) } as unknown as RunnerLink; // answers as the protocol has it
  return createMachinePool({
    link,
    clock: { now: () => 1_000 },
    log: recordingLog(),
    config: { image: 'berth-ssh', priceMicrosPerHour: 0, dataFolder: folder },
  });
}

const order = (slotId: string) => ({ slotId, tag: TAG, sshPublicKeys: ['ssh-ed25519 AAAA'], environment: {} });

describe('a container that was made and not started', () => {
  it('REL-A2: has failed when another life of the broker made it, by list and by id', async () => {
    const pool = aPool({ containers: [created] });

    const [listed] = await pool.list(uncancelled);
    const got = await pool.get(created.instanceId, uncancelled);

    expect(listed).toMatchObject({ state: 'failed', failure: expect.stringMatching(/made and never started/) });
    expect(got).toEqual(listed);
  });

  it('is starting while this process starts it', async () => {
    const containers: SessionContainer[] = [];
    const pool = aPool({ containers });
    const [slot] = await pool.listSlots(uncancelled);

    const started = await pool.start(order(slot?.slotId ?? ''), uncancelled);
    containers.push(created);

    expect(started.state).toBe('starting');
    expect(await pool.list(uncancelled)).toMatchObject([{ state: 'starting' }]);
  });

  it('has failed when its start failed half-way', async () => {
    const containers: SessionContainer[] = [];
    const pool = aPool({ containers, startFails: true });
    const [slot] = await pool.listSlots(uncancelled);

    await expect(pool.start(order(slot?.slotId ?? ''), uncancelled)).rejects.toThrow();
    containers.push(created);

    expect(await pool.list(uncancelled)).toMatchObject([{ state: 'failed' }]);
  });
});
