import { z } from 'zod';
import type { Clock, EpochMs } from '../core/clock.ts';
import { madeAt, type SessionId } from '../core/ids.ts';
import type { AuditEntry } from '../db/audit-chain.ts';
import type { AuditRepository } from '../db/audit-repository.ts';
import type { InstallationRepository } from '../db/installation-repository.ts';
import type { Session } from '../db/tables.ts';
import { TOMBSTONE_MS } from './endings.ts';

/** Where it stands among the facts of the installation. */
export const RECOVERY_MODE = 'recovery_mode';

const Stored = z.object({
  state: z.enum(['on', 'off']),
  at: z.int(),
  cause: z.enum(['evidence', 'operator']),
  reason: z.string(),
});

export type RecoveryCause = z.infer<typeof Stored>['cause'];

export type RecoveryState =
  | {
      readonly isOn: true;
      readonly since: EpochMs;
      readonly cause: RecoveryCause;
      /** A sentence for people. */
      readonly reason: string;
    }
  /** `endedAt`: when a person last ended it; what had been seen by then is explained. */
  | { readonly isOn: false; readonly endedAt?: EpochMs };

/**
 * While it is on, the database is held to be older than reality (REL-B10): no instance that it does not know is destroyed, and no session that
 * was asked for before it began gets another instance. It is begun by evidence or by a person, stands in the database, so that a restart
 * does not end it, and is ended by a person alone ([ADR 0023](../../docs/adr/0023-recovery-mode.md)).
 */
export interface RecoveryMode {
  read(): Promise<RecoveryState>;
  /** True when it was off until now. */
  begin(cause: RecoveryCause, reason: string): Promise<boolean>;
  end(reason: string): Promise<void>;
}

export function createRecoveryMode({
  installation,
  audit,
  clock,
}: {
  readonly installation: Pick<InstallationRepository, 'read' | 'put'>;
  readonly audit: Pick<AuditRepository, 'append'>;
  readonly clock: Pick<Clock, 'now'>;
}): RecoveryMode {
  const read = async () => parseRecoveryState(await installation.read(RECOVERY_MODE));
  const write = (stored: z.infer<typeof Stored>) => installation.put(RECOVERY_MODE, JSON.stringify(stored));
  const tell = (entry: AuditEntry) => audit.append(clock.now(), [entry]);
  return {
    read,
    async begin(cause, reason) {
      if ((await read()).isOn) return false;
      await write({ state: 'on', at: clock.now(), cause, reason });
      const actor = cause === 'operator' ? 'operator' : 'broker';
      await tell({ actor, kind: 'recovery.begun', data: { cause, reason } });
      return true;
    },
    async end(reason) {
      await write({ state: 'off', at: clock.now(), cause: 'operator', reason });
      await tell({ actor: 'operator', kind: 'recovery.ended', data: { reason } });
    },
  };
}

/** What cannot be read counts as on: it was written by something that knew more. */
export function parseRecoveryState(text: string | undefined): RecoveryState {
  if (text === undefined) return { isOn: false };
  const stored = Stored.safeParse(parsed(text));
  if (!stored.success)
    return {
      isOn: true,
      since: 0,
      cause: 'operator',
      reason: 'the database holds a recovery mode that this build cannot read',
    };
  const { state, at, cause, reason } = stored.data;
  return state === 'on' ? { isOn: true, since: at, cause, reason } : { isOn: false, endedAt: at };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Unknown {
  readonly sessionId: SessionId;
  readonly ordinal: number;
  /** The row of its session, if there is one. */
  readonly session: Pick<Session, 'attemptCount'> | undefined;
  /** The newest session that the database knows. */
  readonly newest: SessionId | undefined;
  readonly now: EpochMs;
}

/**
 * Why an instance under our tag, without a row, can only mean that the database has lost rows: the row of an attempt is committed before its
 * create is sent (RULE-R1) and kept until its tombstone has ended, 90 days at least. Undefined when retention explains it: then it is an
 * ordinary orphan.
 */
export function rollbackEvidence({ sessionId, ordinal, session, newest, now }: Unknown): string | undefined {
  if (session) return `the database knows ${session.attemptCount} attempts of session ${sessionId}, not number ${ordinal}`;
  const askedAt = madeAt(sessionId);
  const asked = `session ${sessionId} was asked for at ${new Date(askedAt).toISOString()}`;
  if (now - askedAt < TOMBSTONE_MS) return `${asked}, so that its row would still be kept, and there is none`;
  if (newest !== undefined && askedAt > madeAt(newest)) return `${asked}, after the newest one that the database knows`;
  return undefined;
}
