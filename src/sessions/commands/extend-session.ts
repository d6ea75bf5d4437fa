import { MINUTE_MS } from '../../core/duration.ts';
import { BrokerError } from '../../core/errors.ts';
import type { SessionId } from '../../core/ids.ts';
import type { SessionRecord } from '../session-record.ts';
import type { SessionRepository } from '../session-repository.ts';
import type { SessionWriter } from '../session-writer.ts';

interface ExtendSessionDeps {
  readonly sessions: Pick<SessionRepository, 'find'>;
  readonly writer: SessionWriter;
}

/**
 * Moves a session's expiry, never past the hard maximum counted from its creation.
 * Undefined when there is no such session. Throws BrokerError: invalid_state, invalid_request.
 */
export function createExtendSession({ sessions, writer }: ExtendSessionDeps) {
  return async function extendSession(id: SessionId, addedMinutes: number): Promise<SessionRecord | undefined> {
    const record = await sessions.find(id);
    if (!record) return undefined;
    const applied = await writer.apply(record, { kind: 'extended', addedMinutes });
    if (applied.outcome === 'changed') return applied.record;
    if (applied.outcome === 'missing') return undefined;

    const { session } = applied.record;
    if (session.desired === 'gone')
      throw new BrokerError({
        code: 'invalid_state',
        message: `extend session: it is ${session.status} and cannot be extended`,
        details: { status: session.status, reason: session.reason },
      });
    const leftMinutes = Math.max(0, Math.floor((session.hardDeadlineAt - session.expiresAt) / MINUTE_MS));
    throw new BrokerError({
      code: 'invalid_request',
      message: `extend session: the maximum counts from its creation; ${leftMinutes} more minutes are possible, additional_hours asks for ${addedMinutes} minutes`,
      details: {
        fields: [
          {
            field: 'additional_hours',
            message: `must be at most ${leftMinutes / 60} (${leftMinutes} minutes): the maximum counts from its creation`,
          },
        ],
        maximum_expires_at: new Date(session.hardDeadlineAt).toISOString(),
        possible_minutes: leftMinutes,
      },
    });
  };
}
