import { chipOf } from '../provider/gpu-name.ts';
import { cudaOfDriver } from './driver-cuda.ts';
import type { CommandResult } from './ssh-client.ts';

export const GPU_QUERY = 'nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits';

export interface FoundGpu {
  readonly name: string;
  /** Absent where the driver does not tell, as on machines with one memory for all. */
  readonly vramMib?: number;
  readonly driver: string;
}

/** What the offer sold. */
export interface SoldGpus {
  readonly count: number;
  /** Normalised: `RTX 4090`, `H100 SXM`. */
  readonly type: string;
  /** Per GPU; 0 when unknown. */
  readonly vramMib: number;
  /** The version that the driver has to serve; absent where the provider promised none. */
  readonly cudaVersion?: number;
}

export type GpuReading =
  | { readonly kind: 'read'; readonly gpus: readonly FoundGpu[] }
  /** The driver is not there yet, or does not answer: machines finish it after sshd is up. */
  | { readonly kind: 'not_ready'; readonly message: string };

const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
const MOST_GPUS = 64;

/** Reads the answer to GPU_QUERY, strictly: one odd line makes the whole unreadable. */
export function readGpus({ code, output, errorOutput }: CommandResult): GpuReading {
  if (code === NOT_FOUND || code === NOT_EXECUTABLE) return notReady('nvidia-smi is not installed');
  const firstLine = (output || errorOutput).split('\n')[0] ?? '';
  if (code !== 0) return notReady(`nvidia-smi fails: ${firstLine.slice(0, 200) || `code ${code ?? 'none'}`}`);
  const gpus: FoundGpu[] = [];
  for (const line of output.split('\n').slice(0, MOST_GPUS + 1)) {
    const gpu = readLine(line);
    if (gpu === undefined) return notReady(`nvidia-smi answers what cannot be read: ${line.slice(0, 200)}`);
    gpus.push(gpu);
  }
  if (gpus.length > MOST_GPUS) return notReady(`nvidia-smi lists more than ${MOST_GPUS} GPUs`);
  return { kind: 'read', gpus };
}

function readLine(line: string): FoundGpu | undefined {
  const [, name, memory, driver] = /^([^,]{1,100}), (\d{1,8}|\[[A-Za-z/ ]+\]), (\d[\d.]{0,30})$/.exec(line) ?? [];
  if (name === undefined || memory === undefined || driver === undefined) return undefined;
  return { name, driver, ...(memory.startsWith('[') ? {} : { vramMib: Number(memory) }) };
}

function notReady(message: string): GpuReading {
  return { kind: 'not_ready', message };
}

export type GpuVerdict =
  /** `warning` says what looks odd and proves nothing, such as another spelling of the name. */
  { readonly kind: 'as_sold'; readonly warning?: string } | { readonly kind: 'mismatch'; readonly message: string };

/** A sold 24 GB is 24,576 MiB and reads as 24,564; a card of the next size down has a third less. */
const LEAST_VRAM_SHARE = 0.85;

/**
 * Strict on number, memory and CUDA. Of names only those that the table of GPUs knows prove anything: every market spells them in its own way, so one
 * that nobody knows is told and no more.
 */
export function compareGpus(found: readonly FoundGpu[], sold: SoldGpus): GpuVerdict {
  if (found.length !== sold.count) {
    return { kind: 'mismatch', message: `sold ${sold.count} GPU(s), found ${found.length}` };
  }
  for (const { name, vramMib } of found) {
    if (vramMib !== undefined && vramMib < sold.vramMib * LEAST_VRAM_SHARE) {
      return { kind: 'mismatch', message: `sold ${sold.type} with ${sold.vramMib} MiB, found ${name} with ${vramMib} MiB` };
    }
  }
  const otherChip = found.find(({ name }) => isOtherChip(name, sold.type));
  if (otherChip) return { kind: 'mismatch', message: `sold ${sold.type}, found ${otherChip.name}` };
  for (const { driver } of found) {
    const cuda = cudaOfDriver(driver);
    if (sold.cudaVersion !== undefined && cuda !== undefined && cuda < sold.cudaVersion - 0.05)
      return { kind: 'mismatch', message: `sold CUDA ${sold.cudaVersion}, found driver ${driver}, which serves ${cuda}` };
  }
  const other = found.find(({ name }) => !isSameModel(name, sold.type) && !isSameChip(name, sold.type));
  return other === undefined ? { kind: 'as_sold' } : { kind: 'as_sold', warning: `sold ${sold.type}, found ${other.name}` };
}

function isOtherChip(found: string, sold: string): boolean {
  const [one, other] = [chipOf(found), chipOf(sold)];
  return one !== undefined && other !== undefined && one !== other;
}

function isSameChip(found: string, sold: string): boolean {
  const chip = chipOf(found);
  return chip !== undefined && chip === chipOf(sold);
}

// Makers, product lines and form factors: some markets write them, others do not.
const NOISE = new Set([
  'NVIDIA',
  'GEFORCE',
  'TESLA',
  'QUADRO',
  'GRAPHICS',
  'GENERATION',
  'LAPTOP',
  'GPU',
  'RTX',
  'GTX',
  'SXM',
  'PCIE',
  'NVL',
  'HBM',
]);

/** Whether two names mean one model: `RTX 4090` and `NVIDIA GeForce RTX 4090`, `H100 SXM` and `NVIDIA H100 80GB HBM3`. */
export function isSameModel(one: string, other: string): boolean {
  const [ours, theirs] = [modelWords(one), modelWords(other)];
  const [fewer, more] = ours.size <= theirs.size ? [ours, theirs] : [theirs, ours];
  return fewer.size > 0 && [...fewer].every((word) => more.has(word)) && hasSuffix(ours) === hasSuffix(theirs);
}

function hasSuffix(words: ReadonlySet<string>): string {
  return ['TI', 'SUPER', 'ADA', 'MAX'].filter((suffix) => words.has(suffix)).join(' ');
}

function modelWords(name: string): Set<string> {
  const words = name
    .toUpperCase()
    .replace(/(\d)(TI|SUPER|ADA)\b/g, '$1 $2')
    .replace(/\b(RTX|GTX)(?=A?\d)/g, '$1 ')
    .split(/[\s_-]+/)
    .map((word) => word.replace(/^(SXM|HBM)\d*E?$/, '$1'))
    .filter((word) => word !== '' && !NOISE.has(word) && !/^\d+GI?B$/.test(word));
  return new Set(words);
}
