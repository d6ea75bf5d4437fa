import { and, asc, desc, eq, gte, lt, notExists, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import {
  chained,
  INSTALLATION_CHAIN,
  NO_HEAD,
  PRUNED,
  type AuditEntry,
  type ChainHead,
  type SealedHead,
} from './audit-chain.ts';
import { everyColumn, limitTo, statement, type Call } from './statement.ts';
import type { Store } from './store.ts';
import type { AuditRow } from './tables.ts';

/** Somebody else has added to the chain at the same moment: what was to be written goes behind that. */
class ChainMoved extends Error {}

const MOST_RACES = 20;

type Chain = { readonly chain: string };
type Place = { readonly chain: string; readonly seq: number };

const headStatement = (audit: Store['tables']['audit']) =>
  statement('audit.head', (query, values: Chain) =>
    query
      .select({ seq: audit.seq, hash: audit.hash })
      .from(audit)
      .where(eq(audit.chain, values.chain))
      .orderBy(desc(audit.seq))
      .limit(1),
  );

/**
 * Adds rows to a chain, as part of somebody's transaction. A session's chain is guarded by the compare-and-set on the session that comes
 * before it in the same transaction, so that writers of different sessions never wait for one another; its key guards the installation's.
 */
export function createAuditAppender({ tables: { audit } }: Pick<Store, 'tables'>) {
  const findHead = headStatement(audit);
  const insert = statement('audit.insert-if-new', (query, values: AuditRow) =>
    query
      .insert(audit)
      .values(everyColumn(audit, values))
      .onConflictDoNothing({ target: [audit.chain, audit.seq] })
      .returning({ seq: audit.seq }),
  );

  /** Hands back the new head. */
  return function* append(chain: string, at: EpochMs, entries: readonly AuditEntry[]): Iterable<Call, ChainHead, unknown[]> {
    if (entries.length === 0) return NO_HEAD;
    const [head = NO_HEAD] = yield* findHead({ chain });
    const rows = chained(chain, head, at, entries);
    for (const row of rows) if ((yield* insert(row)).length === 0) throw new ChainMoved();
    return rows.at(-1) ?? head;
  };
}

/** The audit log: rows are added, and deleted past their retention, which is a row itself; nothing is ever changed. */
export function createAuditRepository(store: Store) {
  const { audit, sessions } = store.tables;
  const append = createAuditAppender(store);

  const list = statement('audit.list', (query, values: Chain) =>
    query.select().from(audit).where(eq(audit.chain, values.chain)).orderBy(asc(audit.seq)),
  );
  const lastOfKind = statement('audit.last-of-kind', (query, values: Chain & { kind: string }) =>
    query
      .select()
      .from(audit)
      .where(and(eq(audit.chain, values.chain), eq(audit.kind, values.kind)))
      .orderBy(desc(audit.seq))
      .limit(1),
  );
  const findHead = headStatement(audit);
  const headsSince = statement('audit.heads-since', (query, values: { since: EpochMs }) =>
    query
      .select({ chain: audit.chain, seq: audit.seq, hash: audit.hash, at: audit.at })
      .from(audit)
      .where(
        and(
          gte(audit.at, values.since),
          sql`${audit.chain} <> ${INSTALLATION_CHAIN}`,
          sql`not exists (select 1 from ${audit} later where later.chain = ${audit.chain} and later.seq = ${audit.seq} + 1)`,
        ),
      )
      .orderBy(asc(audit.chain), asc(audit.seq)),
  );
  /** The oldest first, since ids of sessions sort by time. */
  const findForgotten = statement('audit.find-forgotten', (query, values: { before: EpochMs; limit: number }) =>
    query
      .selectDistinct({ chain: audit.chain })
      .from(audit)
      .where(
        and(
          lt(audit.at, values.before),
          sql`${audit.chain} <> ${INSTALLATION_CHAIN}`,
          notExists(
            query
              .select({ one: sql`1` })
              .from(sessions)
              .where(sql`${sessions.id} = ${audit.chain}`),
          ),
        ),
      )
      .orderBy(asc(audit.chain))
      .limit(limitTo(values.limit)),
  );
  const firstFrom = statement('audit.first-from', (query, values: Chain & { from: EpochMs }) =>
    query
      .select()
      .from(audit)
      .where(and(eq(audit.chain, values.chain), gte(audit.at, values.from)))
      .orderBy(asc(audit.seq))
      .limit(1),
  );
  const deleteBefore = statement('audit.delete-before', (query, values: Place) =>
    query
      .delete(audit)
      .where(and(eq(audit.chain, values.chain), lt(audit.seq, values.seq)))
      .returning({ seq: audit.seq }),
  );
  const deleteChain = statement('audit.delete-chain', (query, values: Chain) =>
    query.delete(audit).where(eq(audit.chain, values.chain)).returning({ seq: audit.seq }),
  );

  async function again<Result>(body: () => Iterable<Call, Result, unknown[]>): Promise<Result> {
    for (let race = 0; race < MOST_RACES; race += 1) {
      try {
        return await store.write(body);
      } catch (error) {
        if (!(error instanceof ChainMoved)) throw error;
      }
    }
    throw new Error(`audit: lost ${MOST_RACES} races in a row`);
  }

  return {
    /** Adds to the installation's chain; hands back its new head. */
    append: (at: EpochMs, entries: readonly AuditEntry[]): Promise<ChainHead> =>
      again(() => append(INSTALLATION_CHAIN, at, entries)),

    /** A whole chain, from its first row. */
    list: (chain: string): Promise<AuditRow[]> => store.read(list({ chain })),
    /** The latest row of a kind in the installation's chain. */
    async lastOfKind(kind: string): Promise<AuditRow | undefined> {
      const [row] = await store.read(lastOfKind({ chain: INSTALLATION_CHAIN, kind }));
      return row;
    },
    /** Where the installation's chain ends. */
    async head(): Promise<ChainHead> {
      const [head = NO_HEAD] = await store.read(findHead({ chain: INSTALLATION_CHAIN }));
      return head;
    },
    /** Where the chains of sessions end whose last row is not older than that. */
    headsSince: (since: EpochMs): Promise<SealedHead[]> => store.read(headsSince({ since })),

    /**
     * Deletes chains whose session's row is gone and whose rows are all older than `before`, at most `limit` of them, and what is as old of
     * the installation's. A row says so in the same transaction, without which the deleted would be missed. Hands back how many rows went.
     */
    async prune({ before, at, limit }: { before: EpochMs; at: EpochMs; limit: number }): Promise<number> {
      const forgotten = await store.read(findForgotten({ before, limit }));
      return again(function* (): Iterable<Call, number, unknown[]> {
        let deleted = 0;
        let chains = 0;
        for (const { chain } of forgotten) {
          const [young] = yield* firstFrom({ chain, from: before });
          if (young) continue;
          deleted += (yield* deleteChain({ chain })).length;
          chains += 1;
        }
        const [first] = yield* firstFrom({ chain: INSTALLATION_CHAIN, from: before });
        const cut = first ? (yield* deleteBefore({ chain: INSTALLATION_CHAIN, seq: first.seq })).length : 0;
        if (deleted + cut === 0) return 0;
        const through = first && cut > 0 ? { through_seq: first.seq - 1, through_hash: first.prevHash } : {};
        const data = { before, chains, rows: deleted + cut, ...through };
        yield* append(INSTALLATION_CHAIN, at, [{ actor: 'broker', kind: PRUNED, data }]);
        return deleted + cut;
      });
    },
  };
}

export type AuditRepository = ReturnType<typeof createAuditRepository>;
