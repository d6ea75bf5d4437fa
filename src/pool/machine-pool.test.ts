import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeDocker, type FakeDocker } from '../../test/support/fake-docker-socket.ts';
import { recordingLog } from '../../test/support/log.ts';
import { aTag, uncancelled } from '../../test/support/provider-calls.ts';
import { systemClock } from '../core/clock.ts';
import type { MachinePool } from '../provider/machine-pool.ts';
import { createLocalRunnerLink } from '../runner-protocol/runner-link.ts';
import { createRunner } from '../runner/runner.ts';
import { createMachinePool } from './machine-pool.ts';

const GPUS = [0, 1, 2, 3].map((number) => `GPU-${number}, NVIDIA GeForce RTX 4090, 24564\n`).join('');
const USE = [10, 30, 50, 70].map((percent, number) => `GPU-${number}, ${percent}\n`).join('');

/** An nvidia-smi that answers as recorded ones do. */
async function nvidiaSmi(_: string, args: readonly string[]): Promise<string> {
  if (args.length === 0) return '| NVIDIA-SMI 550.90.07   Driver Version: 550.90.07   CUDA Version: 12.4 |';
  return args[0]?.includes('utilization') === true ? USE : GPUS;
}

describe('the pool on a machine with four GPUs', () => {
  let docker: FakeDocker;
  let folder: string;
  let pool: MachinePool;

  beforeEach(async () => {
    docker = await startFakeDocker({ cpus: 16, memoryMib: 65_536 });
    folder = await mkdtemp(join(tmpdir(), 'berth-pool-gpus-'));
    const log = recordingLog();
    const config = { publishHost: '127.0.0.1', pidsLimit: 4_096, packageCapabilities: false };
    const handler = createRunner({ dockerHost: docker.dockerHost, clock: systemClock, log, config, run: nvidiaSmi });
    pool = createMachinePool({
      link: createLocalRunnerLink(handler),
      clock: systemClock,
      log,
      config: { image: 'berth-ssh', priceMicrosPerHour: 300_000, dataFolder: folder },
    });
  });
  afterEach(async () => {
    await docker.close();
    await rm(folder, { recursive: true, force: true });
  });

  const start = async (slotId: string, count = 1) =>
    pool.start({ slotId, tag: aTag(count), sshPublicKeys: ['ssh-ed25519 AAAA'], environment: {} }, uncancelled);
  const slotOf = async (gpuCount: number) => {
    const slot = (await pool.listSlots(uncancelled)).find((one) => one.gpuCount === gpuCount);
    if (slot === undefined) throw new Error(`no slot of ${gpuCount}`);
    return slot;
  };

  it('offers blocks of one, two and four at the price of their GPUs', async () => {
    const slots = await pool.listSlots(uncancelled);

    expect(slots.map((slot) => [slot.gpuCount, slot.cpuCores, slot.priceMicrosPerHour, slot.cudaVersion])).toEqual([
      ...Array.from({ length: 4 }, () => [1, 4, 300_000, 12.4]),
      [2, 8, 600_000, 12.4],
      [2, 8, 600_000, 12.4],
      [4, 16, 1_200_000, 12.4],
    ]);
    expect(new Set(slots.map((slot) => slot.slotId)).size).toBe(7);
  });

  it('hands the GPUs of the block to the session, tells their mean use, and takes what overlaps off the market', async () => {
    const started = await start((await slotOf(2)).slotId);

    const [made] = docker.containers.values();
    expect(made?.body.HostConfig?.['DeviceRequests']).toMatchObject([{ DeviceIDs: ['GPU-0', 'GPU-1'] }]);
    expect(made?.body.HostConfig?.['CpusetCpus']).toBe('0,1,2,3,4,5,6,7');
    expect((await pool.get(started.instanceId, uncancelled))?.gpuPercent).toBe(20);
    expect((await pool.listSlots(uncancelled)).map((slot) => slot.gpuCount)).toEqual([1, 1, 2]);
  });

  it('refuses a slot that overlaps one that was just taken', async () => {
    const [four, one] = [await slotOf(4), await slotOf(1)];
    await start(one.slotId, 1);

    await expect(start(four.slotId, 2)).rejects.toMatchObject({ name: 'PoolError', kind: 'full' });

    expect(docker.containers.size).toBe(1);
  });

  it('lists a paused session as no end', async () => {
    await start((await slotOf(1)).slotId);
    for (const container of docker.containers.values()) container.status = 'paused';

    const [listed] = await pool.list(uncancelled);

    expect(['starting', 'paused']).toContain(listed?.state);
  });

  it('knows nothing of an id that no machine of ours gave out, and has nothing to stop there', async () => {
    expect(await pool.get('sim-1', uncancelled)).toBeUndefined();
    await pool.stop('sim-1', uncancelled);

    expect(docker.requests).toEqual([]);
  });

  it('says in the preflight what the machine lacks', async () => {
    expect(await pool.preflight(uncancelled)).toBeUndefined();
    docker.images.clear();
    expect(await pool.preflight(uncancelled)).toMatch(/image berth-ssh is not on this machine/);
    await docker.close();
    expect(await pool.preflight(uncancelled)).toMatch(/no Docker engine at/);
    docker = await startFakeDocker();
  });
});
