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

/**
 * One name for one GPU whatever a market calls it: `NVIDIA GeForce RTX 4090` and `rtx4090-pcie-24gb` are `RTX 4090`,
 * `Tesla T4` is `T4`, `NVIDIA H100 80GB HBM3` is `H100 SXM`. An unknown name comes out tidied; an empty one as `GPU`.
 */
export function normaliseGpuName(name: string): string {
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

/** What two names share when they mean the same GPU: `RTX 4090`, `rtx-4090` and `GeForce RTX4090` have one key. */
export function gpuKey(name: string): string {
  return normaliseGpuName(name).replaceAll(' ', '').toLowerCase();
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
