import type { Attempt, Session } from '../db/tables.ts';
import type { SshAccess } from '../provider/instance.ts';
import { isHopeful } from './session-state.ts';

/** A session with its attempts, in their order: what is read, decided upon and written as one. */
export interface SessionRecord {
  readonly session: Session;
  readonly attempts: readonly Attempt[];
}

export function attemptOf(record: SessionRecord, ordinal: number): Attempt | undefined {
  return record.attempts.find((attempt) => attempt.ordinal === ordinal);
}

/** The attempt that counts; there is never more than one (RULE-R4). */
export function currentAttempt(record: SessionRecord): Attempt | undefined {
  return record.attempts.find(isHopeful);
}

/** How to get into an attempt's instance, as last seen; undefined while unknown. */
export function accessOf({ ssh }: Pick<Attempt, 'ssh'>): SshAccess | undefined {
  return 'routes' in ssh ? (ssh as SshAccess) : undefined; // the column holds `{}` or the whole of it
}

/** Whether only its provider can dial the instance, so that consumers need a port of the broker. */
export function needsTunnel(attempt: Pick<Attempt, 'ssh'>): boolean {
  return accessOf(attempt)?.routes === 'dial';
}
