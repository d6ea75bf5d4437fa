import { eq, and } from 'drizzle-orm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeEachStore } from '../../test/support/stores.ts';
import { chained, INSTALLATION_CHAIN, NO_HEAD, sealOf, type AuditEntry } from './audit-chain.ts';
import { auditRows, checkAudit, type AuditQuestion } from './audit-check.ts';
import { createAuditRepository } from './audit-repository.ts';
import { statement } from './statement.ts';
import type { AuditRow } from './tables.ts';

const entry = (kind: string, data: AuditEntry['data'] = {}): AuditEntry => ({ actor: 'broker', kind, data });
const START = Date.parse('2026-01-01T00:00:00Z');

/** A log of two sessions, both sealed, as auditRows hands it out: the installation's chain first. */
function aLog(): AuditRow[] {
  const sessions = ['ses_a', 'ses_b'].flatMap((chain) =>
    chained(
      chain,
      NO_HEAD,
      START,
      ['session.requested', 'attempt.begun', 'session.stopped'].map((kind) => entry(kind, { chain, n: 1 })),
    ),
  );
  const heads = sessions.filter(({ seq }) => seq === 3);
  const installation = chained(INSTALLATION_CHAIN, NO_HEAD, START, [
    entry('broker.started'),
    sealOf(heads),
    entry('orphan.gone'),
  ]);
  return [...installation, ...sessions];
}

async function* each(rows: readonly AuditRow[]) {
  yield* rows;
}
const check = (rows: readonly AuditRow[], question?: AuditQuestion) => checkAudit(each(rows), question);

describe('the check of the audit log', () => {
  it('finds nothing wrong with what nobody touched', async () => {
    expect(await check(aLog())).toEqual({ chains: 3, rows: 9, faults: [] });
    expect(await check([])).toEqual({ chains: 0, rows: 0, faults: [] });
  });

  it('finds every edit, of any column of any row', async () => {
    const columns = ['at', 'actor', 'kind', 'data', 'prevHash', 'hash', 'seq'] as const;
    const place = fc.record({ index: fc.nat({ max: 8 }), column: fc.constantFrom(...columns) });
    await fc.assert(
      fc.asyncProperty(place, async ({ index, column }) => {
        const rows = aLog();
        rows.splice(
          index,
          1,
          ...rows
            .slice(index, index + 1)
            .map((row) => ({ ...row, [column]: typeof row[column] === 'number' ? row[column] + 1 : `${row[column]} ` })),
        );
        expect((await check(rows)).faults).not.toEqual([]);
      }),
    );
  });

  it('finds every row that was removed, but for the last of the installation’s chain', async () => {
    for (const index of aLog().keys()) {
      const rows = aLog().toSpliced(index, 1);
      expect((await check(rows)).faults.length > 0, `without row ${index}`).toBe(index !== 2);
    }
  });

  it('finds rows that changed places, and one that was put in between with hashes of its own', async () => {
    const rows = aLog();
    const [first, second, ...rest] = rows.slice(3);
    expect(first && second && (await check([...rows.slice(0, 3), second, first, ...rest])).faults).not.toEqual([]);
    const forged = chained('ses_a', first ?? NO_HEAD, START, [entry('cost.billed')]);
    expect((await check(rows.toSpliced(4, 0, ...forged))).faults).not.toEqual([]);
  });

  it('misses a whole chain that a seal knows, and says which', async () => {
    const { faults } = await check(aLog().filter(({ chain }) => chain !== 'ses_b'));

    expect(faults).toEqual([
      { chain: 'ses_b', what: expect.stringContaining('all of it is missing: a seal has 3 rows of it') },
    ]);
  });

  it('misses the end of a session’s chain even when all that follows was written anew', async () => {
    const rows = aLog().filter(({ chain, seq }) => chain !== 'ses_a' || seq < 3);
    const [last = NO_HEAD] = rows.filter(({ chain, seq }) => chain === 'ses_a' && seq === 2);
    const rewritten = chained('ses_a', last, START, [entry('session.stopped', { forged: true })]);

    const { faults } = await check([...rows.slice(0, 5), ...rewritten, ...rows.slice(5)]);

    expect(faults).toMatchObject([{ chain: 'ses_a', seq: 3, what: expect.stringContaining('a seal has') }]);
  });

  it('misses the end of the installation’s chain where its hash was noted elsewhere', async () => {
    const rows = aLog();
    const noted = rows[2]?.hash ?? '';
    expect((await check(rows, { noted })).faults).toEqual([]);

    expect((await check(rows.toSpliced(2, 1), { noted })).faults).toMatchObject([
      { chain: INSTALLATION_CHAIN, what: expect.stringContaining('its end was removed or rewritten') },
    ]);
  });
});

describeEachStore('the audit log', (open) => {
  it('is whole as it was written, by several writers at once, and after a pruning; an edit in the database is found', async () => {
    const store = await open();
    const audit = createAuditRepository(store);
    const { audit: table } = store.tables;
    await Promise.all(Array.from({ length: 12 }, (_, index) => audit.append(START, [entry('orphan.gone', { index })])));
    for (let index = 0; index < 3; index += 1) await audit.append(START + 100 + index, [entry('orphan.gone', { index })]);
    expect(await checkAudit(auditRows(store))).toEqual({ chains: 1, rows: 15, faults: [] });

    expect(await audit.prune({ before: START + 50, at: START + 200, limit: 10 })).toBe(12);
    expect(await checkAudit(auditRows(store))).toEqual({ chains: 1, rows: 4, faults: [] });

    const edit = statement('test.edit', (query, values: { chain: string; kind: string; data: string }) =>
      query
        .update(table)
        .set({ data: values.data })
        .where(and(eq(table.chain, values.chain), eq(table.kind, values.kind)))
        .returning({ seq: table.seq }),
    );
    await store.write(() => edit({ chain: INSTALLATION_CHAIN, kind: 'orphan.gone', data: '{"index":99}' }));
    expect((await checkAudit(auditRows(store))).faults).toMatchObject([
      { chain: INSTALLATION_CHAIN, what: expect.stringContaining('the row was edited') },
    ]);
  });
});
