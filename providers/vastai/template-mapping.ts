import { z } from 'zod';
import { SECOND_MS } from '../../src/core/duration.ts';
import { plainLine } from '../../src/core/text.ts';
import { gpuKey } from '../../src/provider/gpu-name.ts';
import type { NeedOperator, Template, TemplateNeed, TemplateTrait } from '../../src/provider/template.ts';
import { VASTAI } from './mapping.ts';
import { MIN_DISK_GB, ourGpuName } from './offers.ts';
import type { TemplateRow } from './schema.ts';

/** Beyond it, somebody made a mistake; no offer has such a disk. */
const LARGEST_DISK_GB = 1_000_000;
/** The last millisecond that has a date of four digits. */
const LAST_INSTANT_MS = Date.UTC(9999, 11, 31);

export function toTemplate(row: TemplateRow): Template {
  const { recommended_disk_space: disk, created_at: createdS } = row;
  const hasDisk = disk !== undefined && disk > 0 && disk <= LARGEST_DISK_GB;
  const hasDate = createdS !== undefined && createdS > 0 && createdS * SECOND_MS < LAST_INSTANT_MS;
  const statedFilters = textOfFilters(row.extra_filters);
  const creatorId = wholeNumber(row.creator_id);
  const createdCount = wholeNumber(row.count_created);
  return {
    provider: VASTAI,
    id: row.id,
    hashId: row.hash_id,
    name: plainLine(row.name ?? '', 200),
    image: plainLine(row.image, 1_024),
    usesSsh: row.use_ssh === true,
    usesDirectSsh: row.ssh_direct === true,
    recommended: row.recommended === true,
    needs: needsIn(statedFilters),
    ...(row.tag && { imageTag: plainLine(row.tag, 256) }),
    ...(row.env && { dockerFlags: row.env }),
    ...(row.onstart && { onStart: row.onstart }),
    ...(row.runtype && { runType: plainLine(row.runtype, 64) }),
    ...(row.args_str && { entrypointArguments: row.args_str }),
    ...(hasDisk && { recommendedDiskGb: Math.max(MIN_DISK_GB, Math.ceil(disk)) }),
    ...(statedFilters !== undefined && { statedFilters }),
    ...(creatorId !== undefined && { creatorId }),
    ...(hasDate && { createdAt: Math.round(createdS * SECOND_MS) }),
    ...(createdCount !== undefined && { createdCount }),
  };
}

function wholeNumber(told: number | undefined): number | undefined {
  return told !== undefined && Number.isSafeInteger(Math.trunc(told)) && told >= 0 ? Math.trunc(told) : undefined;
}

const LONGEST_FILTERS = 16_384;
const MOST_VALUES = 200;

/** JSON as text, as a rule; an object is made one. */
function textOfFilters(told: unknown): string | undefined {
  const text = typeof told === 'string' ? told : typeof told === 'object' && told !== null ? JSON.stringify(told) : '';
  return text.trim() === '' || text.length > LONGEST_FILTERS ? undefined : text;
}

const value = z.union([z.string().max(200), z.number()]);
const Filters = z.record(z.string(), z.unknown());
const SCALARS: readonly NeedOperator[] = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte'];
const LISTS: readonly NeedOperator[] = ['in', 'notin'];

/**
 * Their names of what an offer tells as well; what cores and memory a filter means is the whole machine's, of which an offer is a slice,
 * and the rest (drivers, bandwidth, addresses) is in no offer: those are left to the market.
 */
const TRAITS: Readonly<Record<string, TemplateTrait>> = {
  cuda_max_good: 'cuda',
  cuda_vers: 'cuda',
  gpu_name: 'gpu',
  num_gpus: 'gpuCount',
  gpu_ram: 'vramMib',
  gpu_total_ram: 'totalVramMib',
  disk_space: 'diskGb',
  reliability: 'reliability',
  reliability2: 'reliability',
  geolocation: 'country',
};

function needsIn(filters: string | undefined): readonly TemplateNeed[] {
  const parsed = Filters.safeParse(filters === undefined ? undefined : parse(filters));
  if (!parsed.success) return [];
  return Object.entries(parsed.data).flatMap(([name, conditions]) => {
    const trait = Object.hasOwn(TRAITS, name) ? TRAITS[name] : undefined;
    const told = Filters.safeParse(conditions);
    if (trait === undefined || !told.success) return [];
    return Object.entries(told.data).flatMap(([operator, wanted]) => needOf(trait, operator, wanted));
  });
}

function needOf(trait: TemplateTrait, word: string, wanted: unknown): readonly TemplateNeed[] {
  const scalar = SCALARS.find((each) => each === word);
  const list = LISTS.find((each) => each === word);
  const parsed = z
    .array(value)
    .min(1)
    .max(MOST_VALUES)
    .safeParse(scalar ? [wanted] : wanted);
  const operator = scalar ?? list;
  if (operator === undefined || !parsed.success) return [];
  return [{ trait, operator, values: parsed.data.map((each) => inOurWords(trait, each)) }];
}

function inOurWords(trait: TemplateTrait, theirs: string | number): string | number {
  if (typeof theirs === 'number') return theirs;
  if (trait === 'gpu') return gpuKey(theirs) === 'gpu' ? theirs : ourGpuName(theirs.replaceAll('_', ' '));
  return plainLine(theirs, 200);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // words of a stranger that mean nothing ask for nothing
  }
}
