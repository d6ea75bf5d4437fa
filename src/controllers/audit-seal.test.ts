import { eq } from 'drizzle-orm';
import { expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { describeEachStore, silentLog } from '../../test/support/stores.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { INSTALLATION_CHAIN, SEALED } from '../db/audit-chain.ts';
import { auditRows, checkAudit } from '../db/audit-check.ts';
import { createAuditRepository } from '../db/audit-repository.ts';
import { createLeaseRepository } from '../db/lease-repository.ts';
import { statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import { aSession, nothingBeside, SESSION_ID } from '../sessions/fixtures/session-records.ts';
import { createSessionRepository } from '../sessions/session-repository.ts';
import { createAuditSealController } from './audit-seal.ts';

const NEVER = new AbortController().signal;

function aSealer(store: Store, clock: FakeClock, { holder = 'one', retentionMs = 90 * DAY_MS } = {}) {
  const settings = { periodMs: 5 * MINUTE_MS, retentionMs, holder, exclusive: false };
  const [audit, leases] = [createAuditRepository(store), createLeaseRepository(store)];
  const controller = createAuditSealController({ audit, leases, clock, log: silentLog, settings });
  return { audit, seal: () => controller.reconcile({ signal: NEVER }) };
}

async function aStoredSession(store: Store, clock: FakeClock): Promise<void> {
  const session = aSession({ createdAt: clock.now(), updatedAt: clock.now() });
  const event = { sessionId: SESSION_ID, version: 1, kind: 'session.requested', at: clock.now(), data: {} };
  await createSessionRepository(store).insert({ session, event, secrets: [], beside: nothingBeside });
}

function removeChain(store: Store) {
  const { audit } = store.tables;
  const remove = statement('test.remove', (query, values: { chain: string }) =>
    query.delete(audit).where(eq(audit.chain, values.chain)).returning({ seq: audit.seq }),
  );
  return store.write(() => remove({ chain: SESSION_ID }));
}

describeEachStore('the sealing of the audit log', (open) => {
  it('writes where sessions’ chains end into the installation’s chain, once, so that one that is removed is missed', async () => {
    const clock = new FakeClock();
    const store = await open({ clock });
    const { audit, seal } = aSealer(store, clock);
    await aStoredSession(store, clock);

    await seal();
    await seal();

    expect((await audit.list(INSTALLATION_CHAIN)).filter(({ kind }) => kind === SEALED)).toHaveLength(1);
    expect(await checkAudit(auditRows(store))).toEqual({ chains: 2, rows: 2, faults: [] });
    await removeChain(store);
    expect((await checkAudit(auditRows(store))).faults).toMatchObject([{ chain: SESSION_ID }]);
  });

  it('is one replica’s at a time', async () => {
    const clock = new FakeClock();
    const store = await open({ clock });
    await aStoredSession(store, clock);

    await aSealer(store, clock).seal();
    const other = await aSealer(store, clock, { holder: 'other' }).seal();

    expect(other.details).toEqual({ lease: 'held by another' });
  });

  it('keeps a session’s rows while the session is kept, deletes old ones of the installation, and the log stays whole', async () => {
    const clock = new FakeClock();
    const store = await open({ clock });
    const { audit, seal } = aSealer(store, clock, { retentionMs: DAY_MS });
    await aStoredSession(store, clock);
    await seal();

    await clock.advance(2 * DAY_MS);
    await audit.append(clock.now(), [{ actor: 'operator', kind: 'broker.started', data: {} }]);
    await clock.advance(2 * HOUR_MS);
    await seal();

    expect(await audit.list(SESSION_ID)).toHaveLength(1);
    expect((await audit.list(INSTALLATION_CHAIN)).map(({ kind }) => kind)).toEqual(['broker.started', 'audit.pruned']);
    expect((await checkAudit(auditRows(store))).faults).toEqual([]);
  });
});
