import { and, eq, sql } from 'drizzle-orm';
import { statement } from './statement.ts';
import type { Store } from './store.ts';
import type { LeaseNote, LeaseRow } from './tables.ts';

export type LeaseRequest = {
  readonly name: string;
  /** Names this process and no other, also not the one before a restart. */
  readonly holder: string;
  readonly forMs: number;
};

/**
 * What only one of several replicas shall do at a time, by the database's clock where they share one. A lease saves work and calls; it proves
 * nothing, since its holder may be paused past its end: what may be written by one alone is guarded by the term (REL-D2).
 */
export interface LeaseRepository {
  /** Takes a lease that is free or over, or renews one's own; its term, or undefined while another has it. */
  hold(request: LeaseRequest): Promise<number | undefined>;
  /** The same, whoever has it: for the only process of a database, whose predecessor is surely dead. */
  seize(request: LeaseRequest): Promise<number | undefined>;
  /** Tells the others something; false when the lease has gone to somebody else. */
  note(lease: Pick<LeaseRow, 'name' | 'holder' | 'note'>): Promise<boolean>;
  /** What the holder has told; undefined when nobody ever held it. */
  noteOf(name: string): Promise<LeaseNote | undefined>;
  /** Lets go at once of everything that one holds. */
  release(holder: string): Promise<void>;
}

export function createLeaseRepository(store: Store): LeaseRepository {
  const { leases } = store.tables;
  const { leaseNow } = store;

  const isFree = sql`${leases.holder} = excluded.holder or ${leases.expiresAt} <= ${leaseNow}`;
  const take = (name: string, { isSeizure }: { readonly isSeizure: boolean }) =>
    statement(name, (query, values: LeaseRequest) =>
      query
        .insert(leases)
        .values({
          name: values.name,
          holder: values.holder,
          term: sql`1`,
          expiresAt: sql`${leaseNow} + ${values.forMs}`,
          note: sql`'{}'`,
        })
        .onConflictDoUpdate({
          target: leases.name,
          set: {
            holder: sql`excluded.holder`,
            term: sql`${leases.term} + case when ${leases.holder} = excluded.holder then 0 else 1 end`,
            expiresAt: sql`excluded.expires_at`,
          },
          setWhere: isSeizure ? sql`true` : isFree,
        })
        .returning({ term: leases.term }),
    );
  const holdLease = take('lease.hold', { isSeizure: false });
  const seizeLease = take('lease.seize', { isSeizure: true });

  const writeNote = statement('lease.note', (query, values: Pick<LeaseRow, 'name' | 'holder' | 'note'>) =>
    query
      .update(leases)
      .set({ note: values.note })
      .where(and(eq(leases.name, values.name), eq(leases.holder, values.holder)))
      .returning({ name: leases.name }),
  );

  const selectNote = statement('lease.note-of', (query, values: { name: string }) =>
    query.select({ note: leases.note }).from(leases).where(eq(leases.name, values.name)),
  );

  const endLeases = statement('lease.release', (query, values: { holder: string }) =>
    query
      .update(leases)
      .set({ expiresAt: sql`0` })
      .where(eq(leases.holder, values.holder))
      .returning({ name: leases.name }),
  );

  return {
    async hold(request) {
      const [lease] = await store.write(() => holdLease({ ...request }));
      return lease?.term;
    },
    async seize(request) {
      const [lease] = await store.write(() => seizeLease({ ...request }));
      return lease?.term;
    },
    async note(lease) {
      const noted = await store.write(() => writeNote(lease));
      return noted.length > 0;
    },
    async noteOf(name) {
      const [row] = await store.read(selectNote({ name }));
      return row?.note;
    },
    async release(holder) {
      await store.write(() => endLeases({ holder }));
    },
  };
}
