import { z } from 'zod';
import { fromUsd } from '../../core/money.ts';
import { bookQuery, OFFER_SORTS, type BookQuery } from '../../offers/offer-query.ts';
import { providerId } from '../../provider/ids.ts';
import { needsWithDisk, type Template } from '../../provider/template.ts';
import { decimalNumber, queryText, repeatable, wholeNumber, yesOrNo } from './query-values.ts';

const PART = { min: 0, max: 1 };
const HIGHEST_PRICE = 1_000_000;

export const InventoryQuery = z.strictObject({
  provider: repeatable
    .optional()
    .describe('Only these providers. Simulated offers show beside real ones only when named here.'),
  gpu_type: repeatable
    .optional()
    .describe('Only these GPUs, in any case, with or without spaces: "RTX 4090", "rtx4090". "CPU" for offers without a GPU.'),
  location: repeatable.optional().describe('A country in two letters (US), or a part of the location, in any case.'),
  min_vram: wholeNumber({ max: 1_000_000 }).optional().describe('GB of each GPU at least.'),
  max_price: decimalNumber({ max: HIGHEST_PRICE })
    .optional()
    .describe('US dollars an hour for the whole offer; 0 sets no limit.'),
  gpu_count: wholeNumber({ max: 1_000_000 }).optional().describe('GPUs at least; the same as min_gpu_count, which wins.'),
  min_gpu_count: wholeNumber({ max: 1_000_000 }).optional().describe('GPUs at least.'),
  min_reliability: decimalNumber(PART).optional().describe('0 to 1.'),
  min_availability_confidence: decimalNumber(PART).optional().describe('0 to 1.'),
  min_cuda: decimalNumber({ max: 1_000 }).optional().describe('CUDA version at least; offers that tell none have none.'),
  interruptible: yesOrNo
    .optional()
    .describe(
      'true: only offers that go to whoever bids more, at any time and without notice. They are shown only when asked for.',
    ),
  template_hash_id: queryText
    .optional()
    .describe('Only offers on which this template would run, by all that it asks for; its provider alone.'),
  sort: z.enum(OFFER_SORTS).optional().describe('What to order by; price unless given.'),
  order: z.enum(['asc', 'desc']).optional().describe('asc unless given.'),
  limit: wholeNumber({ min: 1 }).optional().describe('Offers of this page at most; all unless given.'),
  offset: wholeNumber().optional().describe('Offers to skip.'),
});

export type InventoryQuery = z.infer<typeof InventoryQuery>;

/** The offer book's words for it. */
export function bookQueryOf(
  query: InventoryQuery,
  template?: Pick<Template, 'provider' | 'needs' | 'recommendedDiskGb'>,
): BookQuery {
  // who names a provider is shown its offers without a GPU, too; here the template names it
  const leastGpus = template && !query.provider && !query.gpu_type ? 1 : undefined;
  return bookQuery({
    providers: template ? [template.provider] : query.provider?.map(providerId),
    needs: template && needsWithDisk(template),
    gpuTypes: query.gpu_type,
    locations: query.location,
    minVramMib: query.min_vram === undefined ? undefined : query.min_vram * 1024,
    maxPriceMicrosPerHour: query.max_price === undefined ? undefined : fromUsd(query.max_price),
    minGpuCount: query.min_gpu_count ?? query.gpu_count ?? leastGpus,
    minReliability: query.min_reliability,
    minConfidence: query.min_availability_confidence,
    minCuda: query.min_cuda,
    interruptible: query.interruptible ?? false, // who takes the cheapest of the list must not be given a machine that may be taken back
    sort: query.sort,
    order: query.order,
    limit: query.limit,
    offset: query.offset,
  });
}
