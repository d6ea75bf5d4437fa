import { and, asc, eq, gt, isNotNull, ne, or } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { everyColumn, statement, type Call } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import { needsTunnel } from '../sessions/session-record.ts';
import type { Beside } from '../sessions/session-repository.ts';

/** A session whose instance lives and can only be dialled, and the port that it has, if it has one. */
export interface DialledSession {
  readonly sessionId: SessionId;
  readonly ordinal: number;
  readonly instanceId: NonNullable<Attempt['instanceId']>;
  readonly host: string | null;
  readonly port: number | null;
}

export interface PortClaim {
  readonly port: number;
  readonly sessionId: SessionId;
  readonly now: EpochMs;
}

export interface TunnelPortRepository {
  findDialled(provider: ProviderId): Promise<readonly DialledSession[]>;
  /** Every port that stands in a session which lives, or did a moment ago: providers' own ports are among them. */
  findHeld(now: EpochMs): Promise<ReadonlySet<number>>;
  /** What is written beside a session's new port: declined where another session has that port, or had it a moment ago. */
  claim(claim: PortClaim): Beside;
}

/** By then every broker has seen that a session has ended, and leads nobody from its port to its instance any more. */
const REST_MS = 30 * SECOND_MS;
/** Its row is written by each claim, so that of two brokers that claim at once one waits until the other is done. */
const LOCK = 'tunnel_port_claim';

/** Which sessions need a port of the broker, and which ports they have: a port belongs to one session, over all brokers of a database. */
export function createTunnelPortRepository(store: Store): TunnelPortRepository {
  const { sessions, attempts, installation } = store.tables;

  const findDialled = statement('tunnel.find-live', (query, values: { provider: ProviderId }) =>
    query
      .select({
        sessionId: attempts.sessionId,
        ordinal: attempts.ordinal,
        instanceId: attempts.instanceId,
        ssh: attempts.ssh,
        host: sessions.sshHost,
        port: sessions.sshPort,
      })
      .from(attempts)
      .innerJoin(sessions, eq(sessions.id, attempts.sessionId))
      .where(
        and(
          eq(attempts.state, 'live'),
          eq(attempts.provider, values.provider),
          isNotNull(attempts.instanceId),
          eq(sessions.desired, 'run'),
        ),
      )
      .orderBy(asc(attempts.sessionId)),
  );
  const lock = statement('tunnel.lock-claims', (query, values: { name: string; value: string }) =>
    query
      .insert(installation)
      .values(everyColumn(installation, values))
      .onConflictDoUpdate({ target: [installation.name], set: { value: values.value } })
      .returning({ name: installation.name }),
  );
  const findHolder = statement(
    'tunnel.find-holder',
    (query, values: { port: number; sessionId: SessionId; restedAt: EpochMs }) =>
      query
        .select({ id: sessions.id })
        .from(sessions)
        .where(
          and(
            eq(sessions.sshPort, values.port),
            ne(sessions.id, values.sessionId),
            or(eq(sessions.desired, 'run'), gt(sessions.stopRequestedAt, values.restedAt)),
          ),
        )
        .limit(1),
  );

  const findHeld = statement('tunnel.find-held', (query, values: { restedAt: EpochMs }) =>
    query
      .selectDistinct({ port: sessions.sshPort })
      .from(sessions)
      .where(and(isNotNull(sessions.sshPort), or(eq(sessions.desired, 'run'), gt(sessions.stopRequestedAt, values.restedAt)))),
  );

  return {
    async findHeld(now) {
      const rows = await store.read(findHeld({ restedAt: now - REST_MS }));
      return new Set(rows.flatMap(({ port }) => port ?? []));
    },

    async findDialled(provider) {
      const rows = await store.read(findDialled({ provider }));
      return rows.flatMap(({ ssh, instanceId, ...row }) =>
        instanceId !== null && needsTunnel({ ssh }) ? [{ ...row, instanceId }] : [],
      );
    },

    claim: ({ port, sessionId, now }) =>
      function* (): Iterable<Call, boolean, unknown[]> {
        yield* lock({ name: LOCK, value: String(port) });
        const [holder] = yield* findHolder({ port, sessionId, restedAt: now - REST_MS });
        return holder === undefined;
      },
  };
}
