/** What a disk has to hold for a model to be fetched and served from it; GB. */
export interface DiskEstimate {
  readonly weightsGb: number;
  readonly downloadBufferGb: number;
  readonly imageGb: number;
  readonly systemGb: number;
  readonly minimumGb: number;
  readonly recommendedGb: number;
  /** What the template asks for by itself, where that is known. */
  readonly templateFloorGb?: number;
  readonly parametersBillion: number;
  /** As it was asked, or read off the model's name; absent when nobody says. */
  readonly quantization?: string;
}

interface Sized {
  readonly modelId: string;
  readonly quantization?: string | undefined;
  readonly hasTemplate: boolean;
  readonly templateFloorGb?: number | undefined;
}

const IMAGE_GB = { ofTemplate: 15, other: 10 };
const SYSTEM_GB = 5;
/** A file is fetched beside its parts before they become one. */
const BUFFER_SHARE = 0.5;
const RECOMMENDED_SHARE = 1.2;
const RECOMMENDED_STEP_GB = 5;

/** Undefined for a model whose size neither the table nor its name tells. */
export function estimateDisk({ modelId, quantization, hasTemplate, templateFloorGb }: Sized): DiskEstimate | undefined {
  const parametersBillion = parametersOf(modelId);
  if (parametersBillion === undefined) return undefined;
  const kind = quantization ? quantization : quantizationIn(modelId);
  const weightsGb = parametersBillion * bytesPerParameter(kind);
  const downloadBufferGb = weightsGb * BUFFER_SHARE;
  const imageGb = hasTemplate ? IMAGE_GB.ofTemplate : IMAGE_GB.other;
  const sum = weightsGb + downloadBufferGb + imageGb + SYSTEM_GB;
  const floor = templateFloorGb ?? 0;
  return {
    weightsGb: hundredths(weightsGb),
    downloadBufferGb: hundredths(downloadBufferGb),
    imageGb,
    systemGb: SYSTEM_GB,
    minimumGb: Math.max(floor, Math.ceil(hundredths(sum))),
    recommendedGb: Math.max(
      floor,
      Math.ceil(Math.ceil(hundredths(sum * RECOMMENDED_SHARE)) / RECOMMENDED_STEP_GB) * RECOMMENDED_STEP_GB,
    ),
    ...(templateFloorGb !== undefined && { templateFloorGb }),
    parametersBillion,
    ...(kind !== undefined && { quantization: kind }),
  };
}

/** Models whose names do not say how large they are, billions of parameters; a longer name goes before one that it begins with. */
const KNOWN_MODELS: readonly (readonly [name: string, billions: number])[] = [
  ['mixtral-8x22b', 141],
  ['mixtral-8x7b', 46.7],
  ['deepseek-v3', 671],
  ['deepseek-r1-distill', 0],
  ['deepseek-r1-0528-qwen', 0],
  ['deepseek-r1', 671],
  ['command-r-plus', 104],
  ['command-r7b', 8],
  ['command-r', 35],
  ['mistral-large', 123],
  ['mistral-small', 24],
  ['mistral-nemo', 12.2],
  ['llama-4-scout', 109],
  ['llama-4-maverick', 402],
  ['phi-3-mini', 3.8],
  ['phi-3.5-mini', 3.8],
  ['phi-3-medium', 14],
  ['phi-4-mini', 3.8],
  ['phi-4-multimodal', 5.6],
  ['phi-4', 14.7],
  ['grok-1', 314],
  ['dbrx', 132],
];
const LARGEST_BILLIONS = 10_000;

function parametersOf(modelId: string): number | undefined {
  const name = modelId.toLowerCase();
  const known = KNOWN_MODELS.find(([model]) => name.includes(model));
  if (known && known[1] > 0) return known[1];
  const [, experts, each] = /(?<![a-z0-9.])(\d{1,3})x(\d{1,4}(?:\.\d{1,3})?)b(?![a-z0-9])/.exec(name) ?? [];
  if (experts !== undefined && each !== undefined) return sane(Number(experts) * Number(each));
  const [, billions] = /(?:^|[-_:/])(\d{1,4}(?:\.\d{1,3})?)b(?![a-z0-9])/.exec(name) ?? [];
  return billions === undefined ? undefined : sane(Number(billions));
}

function sane(billions: number): number | undefined {
  return billions > 0 && billions <= LARGEST_BILLIONS ? billions : undefined;
}

const BYTES_PER_PARAMETER: readonly (readonly [kind: RegExp, bytes: number])[] = [
  [/^fp32$/, 4],
  [/^(?:fp16|bf16|none)$/, 2],
  [/^(?:fp8|int8|w8a8|8bit|gguf-?q8.*|q8.*)$/, 1],
  [/^(?:awq|gptq)$/, 0.5625],
  [/^(?:int4|nf4|4bit|gguf-?q4.*|q4.*)$/, 0.5],
];
const USUAL_BYTES = 2;

function bytesPerParameter(kind: string | undefined): number {
  const plain = kind?.trim().toLowerCase() ?? 'none';
  return BYTES_PER_PARAMETER.find(([words]) => words.test(plain))?.[1] ?? USUAL_BYTES;
}

const IN_NAMES = /[-_:.](fp32|fp16|bf16|fp8|int8|awq|gptq|int4|nf4|4bit|8bit|w8a8|q4(?:_\w+)?|q8(?:_\w+)?)(?![a-z0-9])/;

function quantizationIn(modelId: string): string | undefined {
  const [, kind] = IN_NAMES.exec(modelId.toLowerCase()) ?? [];
  return kind;
}

/** Sums of parts in binary must not reach the next whole number by a hair. */
function hundredths(gb: number): number {
  return Math.round(gb * 100) / 100;
}
