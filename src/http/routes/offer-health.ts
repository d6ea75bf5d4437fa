import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { createFailureMemory, DEGRADED_FACTOR, FAILURE_MEMORY_MS } from '../../offers/failure-memory.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { queryText } from '../schemas/query-values.ts';
import { time } from '../schemas/wire-values.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { DATABASE_TIME_MS } from './handler-times.ts';

const OfferHealthBody = z
  .object({
    offer_id: z.string(),
    provider: z.string(),
    gpu_type: z.string(),
    recent_failures: z.int().describe('Within the last half hour.'),
    is_suppressed: z.boolean().describe('Left out of the inventory for now; found by its id all the same.'),
    suppressed_at: time.optional(),
    suppressed_until: time.optional(),
    confidence_multiplier: z.number().describe("What is left of the provider's own confidence, 0.05 to 1."),
    last_failure: time.optional(),
    last_failure_type: z.string().optional(),
    last_failure_reason: z.string().optional(),
  })
  .meta({ id: 'OfferHealth' });

const GpuTypeHealthBody = z
  .object({
    gpu_type_key: z.string().describe('provider:GPU.'),
    failed_offer_count: z.int().describe('Machines that failed within the last hour.'),
    is_degraded: z.boolean(),
    degradation_applied: z.number().optional().describe('What the confidence of the whole type is multiplied by.'),
  })
  .meta({ id: 'GpuTypeHealth' });

export const offerHealthRoute: FastifyPluginAsyncZod<Pick<HttpDeps, 'failures' | 'clock'>> = async (
  app,
  { failures, clock },
) => {
  app.get(
    '/api/v1/offer-health',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'getOfferHealth',
        summary: 'Which offers failed of late',
        tags: ['inventory'],
        querystring: z.strictObject({
          provider: queryText.optional().describe('Only offers of this provider.'),
          gpu_type: queryText.optional().describe('Only offers of exactly this GPU.'),
        }),
        response: {
          200: z.object({
            offers: z.array(OfferHealthBody),
            gpu_types: z.array(GpuTypeHealthBody),
            count: z.int().describe('Of offers.'),
          }),
          ...errorAnswers(400, 401, 429, 500, 503),
        },
      },
    },
    async (request) => {
      const { provider, gpu_type: gpuType } = request.query;
      const now = clock.now();
      const memory = createFailureMemory(await failures.failuresSince(now - FAILURE_MEMORY_MS));
      const health = memory.health(now);
      const offers = health.offers
        .filter((offer) => (provider ?? offer.provider) === offer.provider && (gpuType ?? offer.gpuType) === offer.gpuType)
        .map((offer) =>
          present({
            offer_id: offer.offerId,
            provider: offer.provider,
            gpu_type: offer.gpuType,
            recent_failures: offer.recentFailures,
            is_suppressed: offer.suppressedUntil !== undefined,
            suppressed_at: wireTimeIfAny(offer.suppressedAt),
            suppressed_until: wireTimeIfAny(offer.suppressedUntil),
            confidence_multiplier: offer.multiplier,
            last_failure: wireTime(offer.lastFailureAt),
            last_failure_type: offer.lastFailureKind,
            last_failure_reason: offer.lastFailureReason,
          }),
        );
      const gpu_types = health.gpuTypes.map((type) =>
        present({
          gpu_type_key: `${type.provider}:${type.gpuType}`,
          failed_offer_count: type.failedMachines,
          is_degraded: type.isDegraded,
          degradation_applied: type.isDegraded ? DEGRADED_FACTOR : undefined,
        }),
      );
      return { offers, gpu_types, count: offers.length };
    },
  );
};
