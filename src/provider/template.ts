import { countryOf } from './country.ts';
import { gpuKey } from './gpu-name.ts';
import type { EpochMs } from '../core/clock.ts';
import type { ProviderId } from './ids.ts';
import type { Offer } from './offer.ts';

/**
 * A recipe for an instance that a provider keeps: image, variables, start script. All of its text was written by strangers; it is of
 * bounded length, it is shown and handed on as it is, and nothing here ever runs it.
 */
export interface Template {
  readonly provider: ProviderId;
  /** The provider's number of it. */
  readonly id: number;
  /** What a create names it by; changes when its content does. */
  readonly hashId: string;
  readonly name: string;
  /** Without the tag. */
  readonly image: string;
  readonly imageTag?: string;
  /** Variables and ports, as flags of docker. */
  readonly dockerFlags?: string;
  /** Run at boot, unless the request has a script of its own. */
  readonly onStart?: string;
  /** How the provider would start it by itself, in its own words; for show, since a session always gets SSH. */
  readonly runType?: string;
  /** Arguments of the image's entrypoint, where it is started that way. */
  readonly entrypointArguments?: string;
  readonly usesSsh: boolean;
  readonly usesDirectSsh: boolean;
  readonly recommended: boolean;
  /** The least disk that it is meant for, GB. */
  readonly recommendedDiskGb?: number;
  /** What it asks of a machine, as far as offers tell. */
  readonly needs: readonly TemplateNeed[];
  /** The same and more in the provider's own words, JSON as text; for show. */
  readonly statedFilters?: string;
  readonly creatorId?: number;
  readonly createdAt?: EpochMs;
  /** How often somebody has used it. */
  readonly createdCount?: number;
}

/** What templates can be asked for: those that the provider recommends or, by its hash, any one. */
export interface TemplateQuery {
  readonly hashId?: string;
}

export interface TemplateListing {
  /** By hash: that one, or none when the provider does not know it. */
  readonly templates: readonly Template[];
  /** When the provider was asked: templates change seldom, and may come from memory. */
  readonly observedAt: EpochMs;
  /** Rows that could not be read. */
  readonly dropped: number;
}

/** A property of an offer that a template can be about. */
export type TemplateTrait = keyof typeof TRAITS;

/** `in` and `notin` have any number of values, the others one. */
export type NeedOperator = 'eq' | 'neq' | 'gt' | 'gte' | 'lt' | 'lte' | 'in' | 'notin';

export interface TemplateNeed {
  readonly trait: TemplateTrait;
  readonly operator: NeedOperator;
  /** A GPU by its normal name, VRAM in MiB, the disk in GB, reliability from 0 to 1, a country by its two letters. */
  readonly values: readonly (string | number)[];
}

const TRAITS = {
  cuda: { words: 'CUDA', of: ({ cudaVersion }) => cudaVersion },
  gpu: { words: 'GPU', of: ({ gpuType }) => gpuType },
  gpuCount: { words: 'number of GPUs', of: ({ gpuCount }) => gpuCount },
  vramMib: { words: 'MiB of VRAM of each GPU', of: ({ vramMib }) => vramMib },
  totalVramMib: { words: 'MiB of VRAM of all GPUs', of: ({ vramMib, gpuCount }) => vramMib * gpuCount },
  diskGb: { words: 'GB of disk', of: ({ maxDiskGb }) => maxDiskGb },
  reliability: { words: 'reliability', of: ({ reliability }) => reliability },
  country: { words: 'country', of: ({ location }) => countryOf(location) },
} as const satisfies Record<string, { words: string; of: (offer: Offer) => string | number | undefined }>;

const OPERATOR_WORDS: Readonly<Record<NeedOperator, string>> = {
  eq: '',
  neq: 'other than ',
  gt: 'more than ',
  gte: 'at least ',
  lt: 'less than ',
  lte: 'at most ',
  in: 'one of ',
  notin: 'none of ',
};

/** The needs that an offer does not meet. An offer that does not tell what is asked for does not meet it. */
export function unmetNeeds(needs: readonly TemplateNeed[], offer: Offer): readonly TemplateNeed[] {
  return needs.filter((need) => !isMet(need, TRAITS[need.trait].of(offer)));
}

/** All that a template asks of an offer, the disk that it recommends included. */
export function needsWithDisk({
  needs,
  recommendedDiskGb,
}: Pick<Template, 'needs' | 'recommendedDiskGb'>): readonly TemplateNeed[] {
  if (recommendedDiskGb === undefined) return needs;
  return [...needs, { trait: 'diskGb', operator: 'gte', values: [recommendedDiskGb] }];
}

/** For people: `CUDA at least 12.8`. */
export function describeNeed({ trait, operator, values }: TemplateNeed): string {
  return `${TRAITS[trait].words} ${OPERATOR_WORDS[operator]}${values.join(', ')}`;
}

/** For people, what an offer has instead: `12.4`. */
export function describeTrait({ trait }: TemplateNeed, offer: Offer): string {
  return String(TRAITS[trait].of(offer) ?? 'untold');
}

function isMet({ trait, operator, values }: TemplateNeed, has: string | number | undefined): boolean {
  if (has === undefined) return false;
  const [value] = values;
  const isAmong = values.some((each) => isSame(trait, each, has));
  switch (operator) {
    case 'eq':
    case 'in':
      return isAmong;
    case 'neq':
    case 'notin':
      return !isAmong;
    case 'gt':
      return typeof value === 'number' && typeof has === 'number' && has > value;
    case 'gte':
      return typeof value === 'number' && typeof has === 'number' && has >= value;
    case 'lt':
      return typeof value === 'number' && typeof has === 'number' && has < value;
    case 'lte':
      return typeof value === 'number' && typeof has === 'number' && has <= value;
  }
}

/** A text and a number are never the same. */
function isSame(trait: TemplateTrait, one: string | number, other: string | number): boolean {
  if (typeof one === 'string' && typeof other === 'string') {
    return trait === 'gpu' ? gpuKey(one) === gpuKey(other) : one.toUpperCase() === other.toUpperCase();
  }
  return one === other;
}
