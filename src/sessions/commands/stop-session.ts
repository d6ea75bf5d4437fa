import type { SessionId } from '../../core/ids.ts';
import type { SessionRecord } from '../session-record.ts';
import type { StopReason } from '../session-state.ts';
import type { SessionWriter } from '../session-writer.ts';

/** Stores the wish that a session end; the termination carries it out. Idempotent. Undefined when there is no such session. */
export function createStopSession({ writer }: { readonly writer: SessionWriter }) {
  return async function stopSession(id: SessionId, reason: StopReason): Promise<SessionRecord | undefined> {
    const applied = await writer.apply(id, { kind: 'stop_requested', reason });
    return applied.outcome === 'missing' ? undefined : applied.record;
  };
}
