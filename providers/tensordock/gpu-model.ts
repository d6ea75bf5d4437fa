import { plainLine } from '../../src/core/text.ts';
import { normaliseGpuName } from '../../src/provider/gpu-name.ts';

const MIB_PER_GIB = 1024;
/** More than any card has. */
const LARGEST_VRAM_GIB = 1_024;
const SIZE = /(?:^|[-_\s])(\d{1,4})\s?gb(?:$|[-_\s])/i;

export interface GpuModel {
  /** Ours: `RTX 4090`. */
  readonly gpuType: string;
  readonly vramMib: number;
}

/** From `geforcertx4090-pcie-24gb` and, where there is one, the name for people; undefined without a size. */
export function gpuModelOf(model: string, displayName: string | undefined): GpuModel | undefined {
  const vramGib = Number(SIZE.exec(model)?.[1] ?? SIZE.exec(displayName ?? '')?.[1] ?? Number.NaN);
  if (!(vramGib >= 1 && vramGib <= LARGEST_VRAM_GIB)) return undefined;
  return { gpuType: normaliseGpuName(spaced(nameOf(model, displayName))), vramMib: vramGib * MIB_PER_GIB };
}

function nameOf(model: string, displayName: string | undefined): string {
  const shown = plainLine(displayName ?? '', 100).replace(/(\d)\s+(gb)\b/i, '$1$2'); // as everywhere else
  return /[A-Za-z]\d|\d[A-Za-z]|\d{2}/.test(shown.replace(SIZE, ' ')) ? shown : model;
}

/** What they write together and nobody else does: `teslav100`, `rtx6000ada`, `rtxpro6000`. */
function spaced(name: string): string {
  return name
    .replace(/\b(nvidia|tesla|quadro|geforce)(?=[a-z0-9])/gi, '$1 ')
    .replace(/\b(rtx|gtx)(?=pro)/gi, '$1 ')
    .replace(/\bpro(?=\d)/gi, 'pro ')
    .replace(/(\d{4})(ada|blackwell)\b/gi, '$1 $2');
}
