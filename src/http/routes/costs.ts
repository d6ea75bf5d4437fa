import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { toUsd, type MicroUsd } from '../../core/money.ts';
import type { Period } from '../../costs/cost-repository.ts';
import { periodOf } from '../cost-period.ts';
import type { HttpDeps } from '../http-deps.ts';
import { consumerInScope } from '../plugins/access.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { queryText } from '../schemas/query-values.ts';
import { dollars, time } from '../schemas/wire-values.ts';
import { wireTime } from '../wire-time.ts';
import { DATABASE_TIME_MS } from './handler-times.ts';
import { sessionOf } from './session-access.ts';

type CostsDeps = Pick<HttpDeps, 'sessions' | 'ledger' | 'clock'>;

const common = {
  total_cost: z.number().describe('US dollars that consumers pay; open sessions up to now.'),
  currency: z.literal('USD'),
  session_count: z.int().describe('Sessions that ran.'),
  hours_used: z.number().describe('Hours that are paid for.'),
  operator_cost: z.number().describe('US dollars of attempts that never ran; nobody else pays them.'),
};
const SessionCost = z
  .object({ session_id: z.string(), ...common, session_count: z.int().describe('1, this one.') })
  .meta({ id: 'SessionCost' });
const CostSummary = z
  .object({
    consumer_id: z.string().optional(),
    ...common,
    by_provider: z.record(z.string(), dollars).optional(),
    by_gpu_type: z.record(z.string(), dollars).optional(),
    period_start: time,
    period_end: time.describe('Excluded.'),
  })
  .meta({ id: 'CostSummary' });

const consumer_id = queryText.optional().describe("Only this consumer's; with an API key only its own.");

export const costRoutes: FastifyPluginAsyncZod<CostsDeps> = async (app, { sessions, ledger, clock }) => {
  async function summary(period: Period, consumerId: string | undefined) {
    const { consumerMicros, operatorMicros, hours, sessionCount, byProvider, byGpuType } = await ledger.summary(
      period,
      consumerId,
    );
    return present({
      consumer_id: consumerId,
      total_cost: toUsd(consumerMicros),
      currency: 'USD' as const,
      session_count: sessionCount,
      hours_used: hours,
      operator_cost: toUsd(operatorMicros),
      by_provider: inDollars(byProvider),
      by_gpu_type: inDollars(byGpuType),
      period_start: wireTime(period.from),
      period_end: wireTime(period.until),
    });
  }

  app.get(
    '/api/v1/costs',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'getCosts',
        summary: 'What one session, or all of a period, cost',
        description:
          'All dates are UTC; end_date is excluded. With session_id the other parameters do not matter, with period the dates do not. With none of them it is the current month.',
        tags: ['costs'],
        querystring: z.strictObject({
          consumer_id,
          session_id: queryText.optional(),
          period: z.enum(['daily', 'monthly']).optional().describe('Today, or this month.'),
          start_date: queryText.optional().describe('YYYY-MM-DD, included.'),
          end_date: queryText.optional().describe('YYYY-MM-DD, excluded.'),
        }),
        response: { 200: z.union([SessionCost, CostSummary]), ...errorAnswers(400, 401, 403, 404, 429, 500, 503) },
      },
    },
    async (request) => {
      const { consumer_id: named, session_id: sessionId, ...dates } = request.query;
      const consumerId = consumerInScope(request, named);
      if (sessionId === undefined) return summary(periodOf(dates, clock.now()), consumerId);
      const { session } = await sessionOf(sessions, request, sessionId);
      const bill = await ledger.billOfSession(session.id);
      return {
        session_id: session.id,
        total_cost: toUsd(session.settledCostMicros ?? bill.consumerMicros),
        currency: 'USD' as const,
        session_count: 1,
        hours_used: bill.hours,
        operator_cost: toUsd(bill.operatorMicros),
      };
    },
  );

  app.get(
    '/api/v1/costs/summary',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'getCostSummary',
        summary: 'What the current month has cost',
        tags: ['costs'],
        querystring: z.strictObject({ consumer_id }),
        response: { 200: CostSummary, ...errorAnswers(400, 401, 403, 429, 500, 503) },
      },
    },
    (request) => summary(periodOf({ period: 'monthly' }, clock.now()), consumerInScope(request, request.query.consumer_id)),
  );
};

function inDollars(sums: Readonly<Record<string, MicroUsd>>): Record<string, number> | undefined {
  const entries = Object.entries(sums);
  return entries.length === 0 ? undefined : Object.fromEntries(entries.map(([name, micros]) => [name, toUsd(micros)]));
}
