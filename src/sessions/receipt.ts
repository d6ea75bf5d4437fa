import { z } from 'zod';
import type { EpochMs } from '../core/clock.ts';
import { NO_HEAD, parsed, rowFault, type ChainHead } from '../db/audit-chain.ts';
import type { AuditRow } from '../db/tables.ts';

/** What rows of the audit log say, as far as a receipt tells it: read leniently, since older builds have written them, too. */
const Told = z.object({
  consumer_id: z.string().optional(),
  reason: z.string().nullish(),
  message: z.string().optional(),
  cost_micros: z.int().optional(),
  attempt: z.int().optional(),
  tag: z.string().optional(),
  provider: z.string().optional(),
  instance_id: z.string().nullish(),
  instance_state: z.string().optional(),
  by: z.string().optional(),
  saw: z.string().optional(),
  answer: z.string().optional(),
  error_kind: z.string().optional(),
  kind: z.string().optional(),
  asked_at: z.int().optional(),
  ran: z.boolean().optional(),
  payer: z.enum(['attempt', 'operator']).optional(),
  price_micros_per_hour: z.int().optional(),
  from_at: z.int().optional(),
  to_at: z.int().optional(),
});
type Told = z.infer<typeof Told>;

export interface ReceiptDestroy {
  readonly askedAt: EpochMs | undefined;
  readonly answeredAt: EpochMs;
  /** `destroying`, `gone`, or `failed`. */
  readonly answer: string;
  /** Of a failed one, its kind. */
  readonly error?: string | undefined;
}

export interface ReceiptLook {
  readonly at: EpochMs;
  /** `get` or `list`. */
  readonly by: string;
  /** `nothing`, `another`'s instance, or the state of the one that was there. */
  readonly saw: string;
}

export interface ReceiptAttempt {
  readonly ordinal: number;
  tag?: string;
  provider?: string;
  instanceId?: string;
  begunAt?: EpochMs;
  create?: { readonly verdict: 'created' | 'refused' | 'unknown' | 'absent'; readonly at: EpochMs; readonly message?: string };
  ranAt?: EpochMs;
  readonly destroys: ReceiptDestroy[];
  readonly looks: ReceiptLook[];
  /** The provider itself said gone; `because` says how. */
  accepted?: { readonly at: EpochMs; readonly because: string };
  /** Absence became a verdict, after so many looks that found nothing. */
  verified?: { readonly at: EpochMs; readonly looks: number };
  readonly reappearedAt: EpochMs[];
}

/** A part of the bill that is closed. */
export interface ReceiptSegment {
  readonly ordinal: number;
  readonly payer: 'attempt' | 'operator';
  readonly ran: boolean;
  readonly priceMicrosPerHour: number;
  readonly fromAt: EpochMs;
  readonly toAt: EpochMs;
}

/** What became of a session's machines, told by its chain of the audit log alone. */
export interface Receipt {
  readonly consumerId?: string;
  readonly requestedAt?: EpochMs;
  readonly stopRequested?: { readonly at: EpochMs; readonly by: string; readonly reason: string };
  readonly ended?: { readonly at: EpochMs; readonly status: 'stopped' | 'failed' };
  readonly settledMicros?: number;
  readonly attempts: readonly ReceiptAttempt[];
  readonly segments: readonly ReceiptSegment[];
  /** What a complete receipt would have and this one lacks, in plain words; empty when it is complete. */
  readonly missing: readonly string[];
  readonly head: ChainHead;
}

/** Reads a session's chain, from its first row to its last. */
export function receiptOf(rows: readonly AuditRow[]): Receipt {
  const story = createStory();
  let head: ChainHead = NO_HEAD;
  let fault: string | undefined;
  for (const row of rows) {
    fault ??= rowFault(row, head);
    head = row;
    const told = Told.safeParse(parsed(row.data));
    if (told.success) story.tell(row, told.data);
  }
  const { facts, attempts } = story;
  const segments = story.segments.map((segment) => ({
    ...segment,
    ran: attempts.some(({ ordinal, ranAt }) => ordinal === segment.ordinal && ranAt !== undefined),
  }));
  const missing = [...(fault === undefined ? [] : [`its audit chain is broken: ${fault}`]), ...missingOf(facts, attempts)];
  return { ...facts, attempts, segments, missing, head: { seq: head.seq, hash: head.hash } };
}

type Facts = { -readonly [Name in 'consumerId' | 'requestedAt' | 'stopRequested' | 'ended' | 'settledMicros']?: Receipt[Name] };

function createStory() {
  const facts: Facts = {};
  const attempts: ReceiptAttempt[] = [];
  const segments: Omit<ReceiptSegment, 'ran'>[] = [];
  let lastEvidence = '';
  /** Where in an attempt's looks the series begins that may become a verdict. */
  const seriesFrom = new Map<ReceiptAttempt, number>();
  const looksInARow = (attempt: ReceiptAttempt) => attempt.looks.length - (seriesFrom.get(attempt) ?? 0);
  const beginSeries = (attempt: ReceiptAttempt) => void seriesFrom.set(attempt, attempt.looks.length);

  function attemptOf({ attempt: ordinal, tag, provider, instance_id: instanceId }: Told): ReceiptAttempt | undefined {
    if (ordinal === undefined) return undefined;
    const known = attempts.find((each) => each.ordinal === ordinal);
    const attempt = known ?? { ordinal, destroys: [], looks: [], reappearedAt: [] };
    if (!known) attempts.push(attempt);
    if (tag !== undefined) attempt.tag = tag;
    if (provider !== undefined) attempt.provider = provider;
    if (instanceId) attempt.instanceId = instanceId;
    return attempt;
  }

  function tell({ at, actor, kind }: AuditRow, told: Told): void {
    switch (kind) {
      case 'session.requested':
      case 'session.adopted':
        facts.requestedAt = at;
        if (told.consumer_id !== undefined) facts.consumerId = told.consumer_id;
        break;
      case 'session.stop_requested':
        facts.stopRequested = { at, by: actor, reason: told.reason ?? '' };
        break;
      case 'session.stopped':
      case 'session.failed':
        facts.ended = { at, status: kind === 'session.failed' ? 'failed' : 'stopped' };
        break;
      case 'session.settled':
        if (told.cost_micros !== undefined) facts.settledMicros = told.cost_micros;
        break;
      default:
        break;
    }
    const attempt = attemptOf(told);
    if (attempt) tellOf(attempt, { at, kind }, told);
  }

  function tellOf(attempt: ReceiptAttempt, { at, kind }: Pick<AuditRow, 'at' | 'kind'>, told: Told): void {
    switch (kind) {
      case 'session.adopted':
        attempt.begunAt = at;
        attempt.create = { verdict: 'created', at };
        if (told.ran) attempt.ranAt = at;
        return;
      case 'session.running':
        attempt.ranAt = at;
        return;
      case 'attempt.begun':
        attempt.begunAt = at;
        return;
      case 'instance.created':
        attempt.create = { verdict: 'created', at };
        return;
      case 'attempt.refused':
      case 'attempt.unknown':
      case 'attempt.absent': {
        const verdict = kind === 'attempt.refused' ? 'refused' : kind === 'attempt.unknown' ? 'unknown' : 'absent';
        attempt.create = { verdict, at, ...(told.message === undefined ? {} : { message: told.message }) };
        if (verdict === 'absent') attempt.verified = { at, looks: looksInARow(attempt) };
        return;
      }
      case 'destroy.answered':
        attempt.destroys.push({ askedAt: told.asked_at, answeredAt: at, answer: told.answer ?? '' });
        lastEvidence = 'the provider answered the destroy with gone';
        return;
      case 'destroy.failed':
        attempt.destroys.push({ askedAt: told.asked_at, answeredAt: at, answer: 'failed', error: told.error_kind });
        return;
      case 'instance.missing':
        attempt.looks.push({ at, by: told.by ?? '', saw: told.saw ?? 'nothing' });
        lastEvidence = 'after an answered destroy the provider did not know it by its id';
        return;
      case 'instance.seen':
        attempt.looks.push({ at, by: told.by ?? '', saw: told.instance_state ?? 'an instance' });
        beginSeries(attempt);
        return;
      case 'instance.gone_accepted':
        attempt.accepted = { at, because: lastEvidence };
        beginSeries(attempt); // the look that led to it counts for that alone
        return;
      case 'instance.gone_verified':
      case 'instance.vanished':
        attempt.verified = { at, looks: looksInARow(attempt) };
        return;
      case 'instance.reappeared':
        attempt.reappearedAt.push(at);
        delete attempt.accepted;
        delete attempt.verified;
        return;
      case 'cost.billed':
        if (told.payer !== undefined && told.from_at !== undefined && told.to_at !== undefined)
          segments.push({
            ordinal: attempt.ordinal,
            payer: told.payer,
            priceMicrosPerHour: told.price_micros_per_hour ?? 0,
            fromAt: told.from_at,
            toAt: told.to_at,
          });
        return;
      default:
        return;
    }
  }

  return { facts, attempts, segments, tell };
}

function missingOf(facts: Facts, attempts: readonly ReceiptAttempt[]): string[] {
  const missing: string[] = [];
  if (facts.requestedAt === undefined)
    missing.push(
      'the session began before the audit log was kept, or its first rows are gone: what was before is not told here',
    );
  if (facts.ended === undefined) missing.push('the session has not ended yet');
  for (const attempt of attempts) {
    const lacks = lackOf(attempt);
    if (lacks !== undefined) missing.push(`attempt ${attempt.ordinal}: ${lacks}`);
  }
  if (facts.settledMicros === undefined) missing.push('the cost is not final yet');
  return missing;
}

function lackOf({ create, accepted, verified, reappearedAt }: ReceiptAttempt): string | undefined {
  if (create?.verdict === 'refused' && reappearedAt.length === 0) return undefined;
  if (verified) return undefined;
  if (accepted) return 'not verified yet: the provider said gone, and it is still being looked for';
  if (reappearedAt.length > 0) return 'it came back after it was gone, and the provider has not said gone again yet';
  if (create?.verdict === 'created') return 'the provider has not said gone yet';
  return 'nobody knows yet whether the create call made an instance';
}
