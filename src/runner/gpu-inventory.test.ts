import { describe, expect, it } from 'vitest';
import { parseCudaVersion, parseGpuTable, parseGpuUse, readGpus, runProgram } from './gpu-inventory.ts';

const signal = new AbortController().signal;
// as nvidia-smi prints them, with ids made up
const TABLE = `GPU-5b1f0a62-1111-2222-3333-444455556666, NVIDIA GeForce RTX 4090, 24564
GPU-9c2e7d10-aaaa-bbbb-cccc-ddddeeeeffff, NVIDIA GeForce RTX 4090, 24564
`;
const BANNER = `+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
`;

describe('the GPUs of a machine', () => {
  it('are read with id, model and memory, and the CUDA that the driver serves', async () => {
    const found = await readGpus(async (_, args) => (args.length > 0 ? TABLE : BANNER), signal);

    expect(found).toEqual({
      gpus: [
        { uuid: 'GPU-5b1f0a62-1111-2222-3333-444455556666', model: 'NVIDIA GeForce RTX 4090', vramMib: 24_564 },
        { uuid: 'GPU-9c2e7d10-aaaa-bbbb-cccc-ddddeeeeffff', model: 'NVIDIA GeForce RTX 4090', vramMib: 24_564 },
      ],
      cudaVersion: 12.4,
    });
  });

  it('are none where nvidia-smi is not installed', async () => {
    expect(await runProgram('no-such-program-here', [], signal)).toBeUndefined();
    expect(await readGpus(async () => undefined, signal)).toEqual({ gpus: [] });
  });

  it('are unknown, not none, when the driver fails', async () => {
    const failing = async () => {
      throw new Error("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.");
    };

    await expect(readGpus(failing, signal)).rejects.toMatchObject({
      kind: 'unreachable',
      message: expect.stringContaining('driver'),
    });
  });

  it('a program that fails says why', async () => {
    await expect(runProgram('ls', ['/no/such/folder'], signal)).rejects.toThrow(/no\/such\/folder/);
  });

  it.each([
    ['', 0],
    ['No devices were found\n', 0],
    ['GPU-1, NVIDIA A100, [N/A]\nGPU-2, NVIDIA A100, 81920\n', 1],
    ['GPU-1, NVIDIA A100, 81920, more\n', 1],
    ['GPU 1; rm, NVIDIA A100, 81920\n', 0],
    ['GPU-1, , 81920\n', 0],
    ['GPU-1, NVIDIA A100, -1\n', 0],
  ])('of %j %i can be rented', (table, count) => {
    expect(parseGpuTable(table)).toHaveLength(count);
  });

  it('have a use in percent, or none that is known', () => {
    expect([...parseGpuUse('GPU-1, 97\nGPU-2, [N/A]\nGPU-3, 0\nGPU-4, 101\n')]).toEqual([
      ['GPU-1', 97],
      ['GPU-3', 0],
    ]);
    expect(parseCudaVersion('CUDA Version: N/A')).toBeUndefined();
  });
});
