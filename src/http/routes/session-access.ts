import type { FastifyRequest } from 'fastify';
import { BrokerError } from '../../core/errors.ts';
import { isSessionId, type SessionId } from '../../core/ids.ts';
import { plainLine } from '../../core/text.ts';
import type { Ledger } from '../../costs/ledger.ts';
import type { SessionRecord } from '../../sessions/session-record.ts';
import type { SessionRepository } from '../../sessions/session-repository.ts';
import { maySee } from '../plugins/access.ts';
import { NO_COST, sessionToWire, type SessionBody } from '../schemas/session.ts';

/** The session that a path names, if the caller may know of it; another consumer's is as good as none. Throws session_not_found. */
export async function sessionOf(
  sessions: Pick<SessionRepository, 'find'>,
  request: FastifyRequest,
  text: string,
): Promise<SessionRecord> {
  const record = await sessions.find(sessionIdOf(text));
  if (!record || !maySee(request, record.session.consumerId)) throw sessionNotFound(text);
  return record;
}

/** Throws session_not_found for what cannot be the id of one. */
export function sessionIdOf(text: string): SessionId {
  if (isSessionId(text)) return text;
  throw sessionNotFound(
    text,
    'ids of sessions are ses_ and 26 lower-case letters and digits, as GET /api/v1/sessions lists them',
  );
}

export function sessionNotFound(id: string, hint?: string): BrokerError {
  const shown = plainLine(id, 100);
  return new BrokerError({
    code: 'session_not_found',
    message: `session not found: ${shown}${hint === undefined ? '' : ` (${hint})`}`,
    details: { session_id: shown },
  });
}

/** A command found nothing any more although it was just there: retention took it. */
export function stillThere(record: SessionRecord | undefined, id: SessionId): SessionRecord {
  if (!record) throw sessionNotFound(id);
  return record;
}

/** The wire object, with what the session has cost so far. */
export async function withCost(ledger: Pick<Ledger, 'billOfSession'>, record: SessionRecord): Promise<SessionBody> {
  // nothing is billed before an attempt was accepted
  const costs = record.attempts.some(({ acceptedAt }) => acceptedAt !== null);
  return sessionToWire(record, costs ? await ledger.billOfSession(record.session.id) : NO_COST);
}
