import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { BrokerError } from '../../core/errors.ts';
import { errorAnswers } from '../schemas/error-body.ts';

const ROUTES = [
  ['GET', '/benchmarks', 'listBenchmarks'],
  ['POST', '/benchmarks', 'createBenchmark'],
  ['GET', '/benchmarks/best', 'getBestBenchmark'],
  ['GET', '/benchmarks/cheapest', 'getCheapestBenchmark'],
  ['GET', '/benchmarks/compare', 'compareBenchmarks'],
  ['GET', '/benchmarks/recommendations', 'recommendFromBenchmarks'],
  ['GET', '/benchmarks/:id', 'getBenchmark'],
  ['POST', '/benchmark-runs', 'createBenchmarkRun'],
  ['GET', '/benchmark-runs/:id', 'getBenchmarkRun'],
  ['DELETE', '/benchmark-runs/:id', 'cancelBenchmarkRun'],
  ['POST', '/benchmark-schedules', 'createBenchmarkSchedule'],
  ['GET', '/benchmark-schedules', 'listBenchmarkSchedules'],
  ['PUT', '/benchmark-schedules/:id', 'updateBenchmarkSchedule'],
  ['DELETE', '/benchmark-schedules/:id', 'deleteBenchmarkSchedule'],
] as const;

/** Paths of the contract whose service does not exist yet: they say so, as existing clients know it. */
export const benchmarkRoutes: FastifyPluginAsyncZod = async (app) => {
  for (const [method, path, operationId] of ROUTES)
    app.route({
      method,
      url: `/api/v1${path}`,
      schema: {
        operationId,
        summary: 'Not available yet',
        tags: ['benchmarks'],
        response: errorAnswers(401, 429, 503),
      },
      handler: () => {
        throw new BrokerError({
          code: 'unavailable',
          message: 'benchmarks are not available in this version',
          details: { retry_suggested: false },
        });
      },
    });
};
