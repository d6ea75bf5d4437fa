import type { AuditActor, AuditData, AuditEntry } from '../db/audit-chain.ts';
import type { Attempt, CostSegment, Session } from '../db/tables.ts';
import type { EventDraft } from './draft.ts';
import type { Fact } from './fact.ts';
import type { SessionRecord } from './session-record.ts';
import { whoseIs } from './sights.ts';

/** What a decision made, as far as the audit log tells it. */
interface Decided extends SessionRecord {
  readonly events: readonly EventDraft[];
  readonly segments: readonly CostSegment[];
}

/** The first row of a session's chain. Of the request only what decides about machines and money: no names, no keys, no environment. */
export function requestedEntry(session: Session): AuditEntry {
  return entry('consumer', 'session.requested', {
    consumer_id: session.consumerId,
    provider: session.provider,
    offer_id: session.offerId,
    price_micros_per_hour: session.priceMicrosPerHour,
    reservation_minutes: session.reservationMinutes,
    expires_at: session.expiresAt,
    hard_deadline_at: session.hardDeadlineAt,
  });
}

/** The first row of a session whose rows were lost, taken in again by a person, and of the instance that it was made of. */
export function adoptedEntry({ session, attempts }: SessionRecord): AuditEntry {
  const attempt = attempts.at(-1);
  return entry('operator', 'session.adopted', {
    consumer_id: session.consumerId,
    expires_at: session.expiresAt,
    hard_deadline_at: session.hardDeadlineAt,
    ...(attempt && { ...about(attempt), ran: attempt.runningAt !== null }),
  });
}

/**
 * The rows that a fact adds to its session's chain: the wishes, the intent and the create's verdict, each destroy with its answer, each
 * look that counted for or against absence, the ends, and what was billed. Pure, and a part of `step`: what changed and is told here is
 * written with the change or not at all.
 */
export function auditOf(before: SessionRecord, fact: Fact, after: Decided): AuditEntry[] {
  const rows = [...rowsOfFact(before, fact, after)];
  for (const event of after.events) rows.push(...rowsOfEvent(event, after));
  for (const segment of after.segments) if (segment.toAt !== null) rows.push(billed(segment));
  return rows;
}

function* rowsOfFact(before: SessionRecord, fact: Fact, after: Decided): Iterable<AuditEntry> {
  if (!('ordinal' in fact) || fact.ordinal === undefined) return;
  const was = attemptOf(before, fact.ordinal);
  const is = attemptOf(after, fact.ordinal);
  if (!was || !is) return;
  if (fact.kind === 'seen') yield* rowsOfSight(was, is, fact);
  const isNews = was.absences !== is.absences || was.state !== is.state;
  if (fact.kind === 'missing' && isNews) yield entry('provider', 'instance.missing', { ...about(was), by: fact.by });
  if (was.state !== 'destroying') return;
  if (fact.kind === 'destroy_answered')
    yield entry('provider', 'destroy.answered', { ...about(was), ...asked(was, fact), answer: fact.result });
  if (fact.kind === 'destroy_failed') {
    const { kind, message } = fact.refusal;
    yield entry('provider', 'destroy.failed', { ...about(was), ...asked(was, fact), error_kind: kind, message });
  }
}

/** A live instance is seen each minute, which says nothing; on its way out, or while nobody knows of it, a sight is evidence. */
function* rowsOfSight(was: Attempt, is: Attempt, { by, instance }: Extract<Fact, { kind: 'seen' }>): Iterable<AuditEntry> {
  const isNews = was.state !== is.state || was.absences.length !== is.absences.length;
  if (was.state === 'live' || !isNews) return;
  if (whoseIs(was, instance) === 'others') yield entry('provider', 'instance.missing', { ...about(was), by, saw: 'another' });
  else
    yield entry('provider', 'instance.seen', { ...about(was), by, instance_id: instance.id, instance_state: instance.state });
}

function* rowsOfEvent({ kind, data }: EventDraft, after: Decided): Iterable<AuditEntry> {
  const { session } = after;
  const attempt = typeof data.attempt === 'number' ? attemptOf(after, data.attempt) : undefined;
  switch (kind) {
    case 'session.extended':
      yield entry('consumer', kind, data);
      return;
    case 'session.stopping':
      yield entry(whoStops(session.reason), 'session.stop_requested', data);
      return;
    case 'session.running':
      if (attempt) yield entry('broker', kind, about(attempt));
      return;
    case 'session.stopped':
    case 'session.failed':
    case 'session.settled':
    case 'session.gone_verified':
      yield entry('broker', kind, data);
      return;
    case 'attempt.begun':
      if (attempt)
        yield entry('broker', kind, {
          ...about(attempt),
          offer_id: attempt.offerId,
          price_micros_per_hour: attempt.priceMicrosPerHour,
          cap_micros_per_hour: attempt.capMicrosPerHour,
          create_deadline_at: attempt.createDeadlineAt,
        });
      return;
    case 'instance.created':
    case 'attempt.refused':
    case 'attempt.unknown':
    case 'attempt.absent':
    case 'instance.reappeared':
    case 'instance.vanished':
      if (attempt) yield entry('provider', kind, { ...data, ...about(attempt) });
      return;
    case 'attempt.failed':
    case 'instance.gone_accepted':
    case 'instance.gone_verified':
    case 'instance.destroy_overdue':
      if (attempt) yield entry('broker', kind, { ...data, ...about(attempt) });
      return;
    default: // addresses, phases, warnings: the session's events tell them
      return;
  }
}

function billed(segment: CostSegment): AuditEntry {
  return entry('broker', 'cost.billed', {
    attempt: segment.ordinal,
    sequence: segment.sequence,
    payer: segment.payer,
    price_micros_per_hour: segment.priceMicrosPerHour,
    from_at: segment.fromAt,
    to_at: segment.toAt,
  });
}

/** Which instance a row is about, whatever becomes of the other rows. */
function about({ ordinal, tag, provider, instanceId }: Attempt): AuditData {
  return { attempt: ordinal, tag, provider, ...(instanceId === null ? {} : { instance_id: instanceId }) };
}

function asked({ destroyTries }: Attempt, { askedAt }: { readonly askedAt?: number }): AuditData {
  return { try: destroyTries + 1, ...(askedAt === undefined ? {} : { asked_at: askedAt }) };
}

function whoStops(reason: string | null): AuditActor {
  if (reason === 'user_requested') return 'consumer';
  return reason === 'drained' ? 'operator' : 'broker';
}

function attemptOf({ attempts }: SessionRecord, ordinal: number): Attempt | undefined {
  return attempts.find((attempt) => attempt.ordinal === ordinal);
}

function entry(actor: AuditActor, kind: string, data: AuditData): AuditEntry {
  return { actor, kind, data };
}
