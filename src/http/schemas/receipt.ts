import { z } from 'zod';
import type { SessionId } from '../../core/ids.ts';
import { toUsd } from '../../core/money.ts';
import { billOf } from '../../costs/bill.ts';
import type { Receipt, ReceiptAttempt } from '../../sessions/receipt.ts';
import { present } from '../present.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { time } from './wire-values.ts';

const Look = z
  .object({
    at: time,
    by: z.string().describe('get: asked by its id; list: looked for in a complete, credible list.'),
    saw: z
      .string()
      .describe('nothing, another (the id is an instance of others by now), or the state of the instance that was there.'),
  })
  .meta({ id: 'ReceiptLook', description: 'A look at the provider that counted for or against absence.' });

const Destroy = z
  .object({
    asked_at: time.optional().describe('When the provider was asked; absent where an older version asked.'),
    answered_at: time,
    answer: z.string().describe('destroying, gone, or failed.'),
    error: z.string().optional().describe('Of a failed one, the kind of its error.'),
  })
  .meta({ id: 'ReceiptDestroy', description: 'One destroy call and its answer.' });

const AttemptReceipt = z
  .object({
    ordinal: z.int().describe('1 for the first.'),
    tag: z.string().optional().describe('What marks the instance as ours at the provider.'),
    provider: z.string().optional(),
    instance_id: z.string().optional().describe("The provider's own name of the instance."),
    begun_at: time.optional().describe('When the intent was stored, before the create call.'),
    create: z
      .object({
        verdict: z.enum(['created', 'refused', 'unknown', 'absent']).describe('absent: it never appeared, by verdict.'),
        at: time,
        message: z.string().optional(),
      })
      .optional()
      .describe('What became of the create call; absent while nobody knows.'),
    ran_at: time.optional().describe('When it was handed out.'),
    destroys: z.array(Destroy),
    looks: z.array(Look),
    accepted: z
      .object({ at: time, because: z.string() })
      .optional()
      .describe('The provider itself said that it is gone: the bill ended.'),
    verified: z
      .object({ at: time, looks: z.int().describe('Looks in a row that found nothing.') })
      .optional()
      .describe('Absence became a verdict.'),
    reappeared_at: z.array(time).describe('When it was seen again after it had been gone; it was destroyed again.'),
  })
  .meta({ id: 'AttemptReceipt' });

export const ReceiptBody = z
  .object({
    session_id: z.string(),
    consumer_id: z.string().optional(),
    complete: z.boolean().describe('Everything that was rented is gone by verdict, and the cost is final.'),
    missing: z.array(z.string()).describe('What it lacks, in plain words; empty when it is complete.'),
    status: z.enum(['stopped', 'failed']).optional().describe('How it ended; absent while it has not.'),
    requested_at: time.optional(),
    stop_requested_at: time.optional(),
    stop_requested_by: z.string().optional().describe('consumer, operator or broker.'),
    reason: z.string().optional().describe('Why it was to end.'),
    ended_at: time.optional(),
    attempts: z.array(AttemptReceipt),
    cost: z.number().optional().describe('US dollars that the consumer pays; absent until it is final.'),
    operator_cost: z.number().optional().describe('US dollars of what never ran, and of what came back.'),
    audit: z
      .object({
        rows: z.int().describe('Rows of the audit log that the receipt was made of.'),
        head: z.string().describe('SHA-256 of the last one, which covers all before it.'),
        check: z.string().describe('The command that checks them, on the machine of the broker.'),
      })
      .describe('What the receipt rests on.'),
  })
  .meta({ id: 'Receipt', description: 'What became of every machine that was rented for a session, by the audit log alone.' });

export type ReceiptBody = z.infer<typeof ReceiptBody>;

export function receiptToWire(id: SessionId, receipt: Receipt): ReceiptBody {
  const { settledMicros, segments, missing, head } = receipt;
  const bill = settledMicros === undefined ? undefined : billOf(segments, 0, Number.MAX_SAFE_INTEGER);
  return present({
    session_id: id,
    consumer_id: receipt.consumerId,
    complete: missing.length === 0,
    missing: [...missing],
    status: receipt.ended?.status,
    requested_at: wireTimeIfAny(receipt.requestedAt),
    stop_requested_at: wireTimeIfAny(receipt.stopRequested?.at),
    stop_requested_by: receipt.stopRequested?.by,
    reason: receipt.stopRequested?.reason,
    ended_at: wireTimeIfAny(receipt.ended?.at),
    attempts: receipt.attempts.map(attemptToWire),
    cost: settledMicros === undefined ? undefined : toUsd(settledMicros),
    operator_cost: bill && toUsd(bill.operatorMicros),
    audit: { rows: head.seq, head: head.hash, check: `berth audit verify --session ${id}` },
  });
}

function attemptToWire(attempt: ReceiptAttempt): z.infer<typeof AttemptReceipt> {
  const { create, accepted, verified } = attempt;
  return present({
    ordinal: attempt.ordinal,
    tag: attempt.tag,
    provider: attempt.provider,
    instance_id: attempt.instanceId,
    begun_at: wireTimeIfAny(attempt.begunAt),
    create: create && present({ verdict: create.verdict, at: wireTime(create.at), message: create.message }),
    ran_at: wireTimeIfAny(attempt.ranAt),
    destroys: attempt.destroys.map(({ askedAt, answeredAt, answer, error }) =>
      present({ asked_at: wireTimeIfAny(askedAt), answered_at: wireTime(answeredAt), answer, error }),
    ),
    looks: attempt.looks.map(({ at, by, saw }) => ({ at: wireTime(at), by, saw })),
    accepted: accepted && { at: wireTime(accepted.at), because: accepted.because },
    verified: verified && { at: wireTime(verified.at), looks: verified.looks },
    reappeared_at: attempt.reappearedAt.map(wireTime),
  });
}
