import type { Reply } from '../kit/http-server.ts';
import { bodyOf, INVALID_JSON, ok, queryJson, refusal } from './context.ts';
import type { Context } from './context.ts';
import { createFromAsk } from './create.ts';
import { GPU_MODELS } from './gpu-models.ts';
import type { Limiter } from './limits.ts';
import { search } from './search.ts';

/** The three ways to search. Rows count against the day's quota when they are returned. */
export function searchEndpoint(limiter: Limiter, queryOf: (context: Context) => unknown): (context: Context) => Reply {
  return (context) => {
    const query = queryOf(context);
    const found = search(context.world, query === INVALID_JSON ? undefined : query);
    if ('refusal' in found) return found.refusal;
    const quota = limiter.takeRows(found.rows.length);
    if ('refusal' in quota) return quota.refusal;
    return ok({ offers: found.rows.slice(0, quota.granted) });
  };
}

export const queryOfBundles = (context: Context): unknown => context.body;
export const queryOfText = (context: Context): unknown => queryJson(context, 'q');
export const queryOfAsks = (context: Context): unknown => bodyOf(context)?.['q'];

export function gpuNames(): Reply {
  return ok({ success: true, gpu_names: GPU_MODELS.map(({ name }) => name) });
}

export function gpuTypes(): Reply {
  return ok({ success: true, gpu_types: GPU_MODELS.map(({ name, roundMib }) => ({ name, gpu_ram: roundMib })) });
}

/** A snapshot a GPU name, which costs no search rows. */
export function gpuMetrics({ world }: Context): Reply {
  const gpus = GPU_MODELS.flatMap((gpu) => {
    const machines = world.market.machines.filter((machine) => machine.gpu === gpu);
    const prices = machines.map(({ pricePerGpu }) => pricePerGpu).sort((a, b) => a - b);
    const at = (share: number) => prices[Math.floor((prices.length - 1) * share)] ?? null;
    if (prices.length === 0) return [];
    const holders = machines.flatMap((machine) => machine.holders);
    const available = holders.filter(({ kind }) => kind === 'free').length;
    return [
      {
        gpu_name: gpu.name,
        total: holders.length,
        available,
        usage: Math.round((1 - available / holders.length) * 1_000) / 10,
        dlperf: gpu.dlperf,
        tflops: gpu.tflops,
        price_p10: at(0.1),
        price_p25: at(0.25),
        price_median: at(0.5),
        price_p75: at(0.75),
        price_p90: at(0.9),
      },
    ];
  });
  return ok({ success: true, gpus });
}

/** Search and create in one; the filters are text and underscores stand for spaces. */
export async function launchInstance(context: Context): Promise<Reply> {
  const body = bodyOf(context);
  if (body === undefined) return refusal(400, 'invalid_request', 'Invalid json body');
  const { gpu_name: name, num_gpus: count, ...create } = body;
  const filters = {
    gpu_name: { eq: String(name).replaceAll('_', ' ') },
    num_gpus: { eq: Number(count ?? 1) },
    rentable: { eq: true },
    order: [['dph_total', 'asc']],
    limit: 1,
  };
  const found = search(context.world, filters);
  const first = 'rows' in found ? found.rows[0] : undefined;
  if (first === undefined) return refusal(404, 'not_found', 'No offers match.');
  return createFromAsk({ ...context, params: [String(first['id'])], body: create });
}
