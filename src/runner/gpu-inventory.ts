import { execFile } from 'node:child_process';
import { plainLine } from '../core/text.ts';
import { MachineGpu } from '../runner-protocol/messages.ts';
import { RunnerFailure } from '../runner-protocol/runner-link.ts';

/** Runs a program without a shell; undefined when it is not installed. Throws when it fails. */
export type RunProgram = (file: string, args: readonly string[], signal: AbortSignal) => Promise<string | undefined>;

export const runProgram: RunProgram = (file, args, signal) =>
  new Promise((resolve, reject) => {
    execFile(file, args, { signal, maxBuffer: 4 * 1024 * 1024, encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (error.code === 'ENOENT') return resolve(undefined);
      reject(new Error(plainLine(stderr || stdout || error.message), { cause: error }));
    });
  });

const QUERY_GPUS = ['--query-gpu=uuid,name,memory.total', '--format=csv,noheader,nounits'];
const QUERY_USE = ['--query-gpu=uuid,utilization.gpu', '--format=csv,noheader,nounits'];

export interface GpuInventory {
  readonly gpus: readonly MachineGpu[];
  readonly cudaVersion?: number;
}

/**
 * The GPUs of this machine; none when there is no `nvidia-smi`. Throws `unreachable` when it is there and fails: a driver in trouble must
 * not turn a GPU machine into one that is offered as cores.
 */
export async function readGpus(run: RunProgram, signal: AbortSignal): Promise<GpuInventory> {
  try {
    const table = await run('nvidia-smi', QUERY_GPUS, signal);
    if (table === undefined) return { gpus: [] };
    const gpus = parseGpuTable(table);
    const cudaVersion = gpus.length > 0 ? parseCudaVersion((await run('nvidia-smi', [], signal)) ?? '') : undefined;
    return cudaVersion === undefined ? { gpus } : { gpus, cudaVersion };
  } catch (cause) {
    throw new RunnerFailure(
      'unreachable',
      `nvidia-smi fails on this machine: ${cause instanceof Error ? cause.message : 'no reason given'}`,
      cause,
    );
  }
}

/** Percent by GPU; a GPU that does not tell (`[N/A]`, MIG) is missing. */
export async function readGpuUse(run: RunProgram, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  return parseGpuUse((await run('nvidia-smi', QUERY_USE, signal)) ?? '');
}

/** Rows that cannot be read to the letter are left out: what is not understood is not rented. */
export function parseGpuTable(table: string): MachineGpu[] {
  const gpus: MachineGpu[] = [];
  for (const [uuid, model, memory] of rows(table)) {
    const gpu = MachineGpu.safeParse({ uuid, model, vramMib: wholeNumber(memory) });
    if (gpu.success) gpus.push(gpu.data);
  }
  return gpus;
}

export function parseGpuUse(table: string): Map<string, number> {
  const use = new Map<string, number>();
  for (const [uuid, percent] of rows(table)) {
    const value = wholeNumber(percent);
    if (uuid !== undefined && value !== undefined && value <= 100) use.set(uuid, value);
  }
  return use;
}

export function parseCudaVersion(banner: string): number | undefined {
  const [, version] = /CUDA Version:\s*(\d{1,3}\.\d{1,3})\b/.exec(banner) ?? [];
  return version === undefined ? undefined : Number(version);
}

function rows(table: string): string[][] {
  return table
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => line.split(',').map((cell) => cell.trim()));
}

function wholeNumber(cell: string | undefined): number | undefined {
  return cell !== undefined && /^\d{1,9}$/.test(cell) ? Number(cell) : undefined;
}
