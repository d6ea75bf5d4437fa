import { GPU_MODELS, type GpuModel } from './gpu-models.ts';

/** Words that say who made it or how it is plugged in when nothing else could be meant; they tell no two GPUs apart. */
const NOISE = new Set([
  'NVIDIA',
  'AMD',
  'GEFORCE',
  'TESLA',
  'QUADRO',
  'INSTINCT',
  'RADEON',
  'GPU',
  'CORPORATION',
  'INC',
  'GRAPHICS',
]);
/** The usual way to plug in a card; `SXM` and `NVL` are other machines and stay. */
const PLAIN_SLOT = /^PCI-?E$/;
const MEMORY_SIZE = /^\d+G(I?B)?$/;
/** `RTX4090`, `GTX1080TI`: letters and digits that people write without a space. */
const GLUED_SERIES = /^(?:GEFORCE)?(RTX|GTX)(A?\d{3,4})(TI|SUPER|D)?$/;
const GLUED_SUFFIX = /^(\d{4})(TI|SUPER|D)$/;
const GLUED_FORM = /^([ABHLV]\d{2,3}|GH200|MI\d{3}X?)(SXM\d?|PCIE|NVL)$/;
const WRITTEN: Readonly<Record<string, string>> = { TI: 'Ti', SUPER: 'Super', LAPTOP: 'Laptop', ADA: 'Ada', GENERATION: '' };

/** The table by the keys of its names and aliases; made when it is first needed. */
let table: ReadonlyMap<string, GpuModel> | undefined;
/** Markets write few names, and each of them thousands of times. */
const known = new Map<string, string>();
const MOST_KNOWN = 2_000;

/**
 * One name for one GPU whatever a market calls it: `NVIDIA GeForce RTX 4090` and `rtx4090-pcie-24gb` are `RTX 4090`,
 * `Tesla T4` is `T4`, `NVIDIA H100 80GB HBM3` is `H100 SXM`. An unknown name comes out tidied; an empty one as `GPU`.
 */
export function normaliseGpuName(name: string): string {
  const earlier = known.get(name);
  if (earlier !== undefined) return earlier;
  const tidied = tidy(name);
  const normal = models().get(squeeze(tidied))?.name ?? tidied;
  if (known.size >= MOST_KNOWN) known.clear();
  if (name.length <= 200) known.set(name, normal);
  return normal;
}

/** The model of the table that a name means, by whatever way it is written; undefined when it is not in the table. */
export function findGpuModel(name: string): GpuModel | undefined {
  return models().get(gpuKey(name));
}

/**
 * GPUs that differ in no more than their plug are one chip: markets often leave it out, drivers add it.
 * Undefined for names that are not in the table: of them nothing can be said.
 */
export function chipOf(name: string): string | undefined {
  return findGpuModel(name)?.name.replace(/ (?:SXM|NVL)$/, '');
}

/** A card with twice the memory of its model exists; a larger size is not the GPU's (`GH200 480GB` means the processor's). */
const MOST_TIMES_KNOWN = 2;

/** The memory of one GPU, MiB, by a name that says it (`a100-pcie-80gb`) or by the table, where that knows one size only; else undefined. */
export function vramMibByName(name: string): number | undefined {
  const [, written = '0'] = /(?<![a-z0-9])(\d{1,3}) ?Gi?B(?![a-z0-9])/i.exec(name) ?? [];
  const sizes = findGpuModel(name)?.vramGb ?? [];
  const isSane =
    Number(written) > 0 && Number(written) <= MOST_TIMES_KNOWN * Math.max(...sizes, sizes.length > 0 ? 0 : Infinity);
  const sizeGb = isSane ? Number(written) : sizes.length === 1 ? sizes[0] : undefined;
  return sizeGb === undefined ? undefined : sizeGb * 1024;
}

/** What two names share when they mean the same GPU: `RTX 4090`, `rtx-4090` and `GeForce RTX4090` have one key. */
export function gpuKey(name: string): string {
  return squeeze(normaliseGpuName(name));
}

function squeeze(name: string): string {
  return name.replaceAll(' ', '').toLowerCase();
}

function models(): ReadonlyMap<string, GpuModel> {
  table ??= new Map(
    GPU_MODELS.flatMap((model) => [model.name, ...model.aliases].map((written) => [squeeze(tidy(written)), model] as const)),
  );
  return table;
}

function tidy(name: string): string {
  const words = name
    .toUpperCase()
    .replace(/\((R|TM)\)/g, ' ')
    .split(/[^A-Z0-9]+/)
    .filter(Boolean)
    .flatMap(unglue);
  // HBM3 with the H100 and H200 is how the driver names the SXM board.
  const isSxmByMemory = /^H[12]00$/.test(words.find((word) => /^H\d/.test(word)) ?? '') && words.includes('HBM3');
  const kept = words.filter(
    (word) => !NOISE.has(word) && !PLAIN_SLOT.test(word) && !MEMORY_SIZE.test(word) && !word.startsWith('HBM'),
  );
  if (isSxmByMemory && !kept.some((word) => word === 'SXM' || word === 'NVL')) kept.push('SXM');
  const written = kept.map((word) => WRITTEN[word] ?? word).filter(Boolean);
  return written.join(' ') || 'GPU';
}

function unglue(word: string): string[] {
  const [, series, model, suffix] = GLUED_SERIES.exec(word) ?? [];
  if (series && model) return suffix ? [series, model, suffix] : [series, model];
  const [, number, ending] = GLUED_SUFFIX.exec(word) ?? [];
  if (number && ending) return [number, ending];
  const [, chip, form] = GLUED_FORM.exec(word) ?? [];
  if (chip && form) return [chip, ...unglue(form)];
  return /^SXM\d$/.test(word) ? ['SXM'] : [word];
}
