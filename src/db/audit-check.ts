import { and, asc, eq, sql } from 'drizzle-orm';
import {
  INSTALLATION_CHAIN,
  NO_HEAD,
  pruningOf,
  rowFault,
  sealedHeads,
  type ChainHead,
  type Pruning,
  type SealedHead,
} from './audit-chain.ts';
import { limitTo, statement } from './statement.ts';
import type { Store } from './store.ts';
import type { AuditRow } from './tables.ts';

/** The first thing that is wrong with a chain. */
export interface AuditFault {
  readonly chain: string;
  /** The row, where one can be named. */
  readonly seq?: number;
  /** A sentence for people. */
  readonly what: string;
}

export interface AuditVerdict {
  readonly chains: number;
  readonly rows: number;
  readonly faults: readonly AuditFault[];
}

export interface AuditQuestion {
  /** Only this chain, and the installation's, which seals it. */
  readonly chain?: string;
  /** A hash that was noted somewhere else: the installation's chain has to have it. */
  readonly noted?: string;
}

const PAGE = 2_000;

/** Every row of the audit log, chain by chain: the installation's first, then the others by their names. */
export async function* auditRows(store: Pick<Store, 'read' | 'tables'>, only?: string): AsyncGenerator<AuditRow> {
  const { audit } = store.tables;
  const page = statement('audit.page', (query, values: { chain: string; seq: number; limit: number }) =>
    query
      .select()
      .from(audit)
      .where(sql`(${audit.chain}, ${audit.seq}) > (${values.chain}, ${values.seq})`)
      .orderBy(asc(audit.chain), asc(audit.seq))
      .limit(limitTo(values.limit)),
  );
  const pageOfChain = statement('audit.page-of-chain', (query, values: { chain: string; seq: number; limit: number }) =>
    query
      .select()
      .from(audit)
      .where(and(eq(audit.chain, values.chain), sql`${audit.seq} > ${values.seq}`))
      .orderBy(asc(audit.seq))
      .limit(limitTo(values.limit)),
  );
  for (const chain of [INSTALLATION_CHAIN, ...(only === undefined ? [] : [only])])
    for (let seq = Number.MIN_SAFE_INTEGER, full = true; full;) {
      const rows = await store.read(pageOfChain({ chain, seq, limit: PAGE }));
      yield* rows;
      full = rows.length === PAGE;
      seq = rows.at(-1)?.seq ?? seq;
    }
  if (only !== undefined) return;
  let [chain, seq] = ['', Number.MIN_SAFE_INTEGER];
  for (let full = true; full;) {
    const rows = await store.read(page({ chain, seq, limit: PAGE }));
    yield* rows.filter((row) => row.chain !== INSTALLATION_CHAIN);
    full = rows.length === PAGE;
    ({ chain, seq } = rows.at(-1) ?? { chain, seq });
  }
}

/**
 * Goes over the rows as `auditRows` gives them: each must follow from the one before it, and the heads that the installation's chain has
 * sealed must be where they were. Only the first fault of a chain is told: what comes after it follows from it.
 */
export async function checkAudit(
  rows: AsyncIterable<AuditRow>,
  { chain: only, noted }: AuditQuestion = {},
): Promise<AuditVerdict> {
  const faults = new Map<string, AuditFault>();
  const seals = new Map<string, SealedHead[]>();
  const prunings: Pruning[] = [];
  const seen = new Set<string>();
  let first: AuditRow | undefined;
  let current: { readonly chain: string; head: ChainHead; due: SealedHead[] } | undefined;
  let count = 0;
  let isNotedSeen = noted === undefined;

  const blame = (fault: AuditFault) => void (faults.has(fault.chain) || faults.set(fault.chain, fault));
  const end = () => {
    const [lost] = current?.due ?? [];
    if (current && lost) blame(lostTail(lost, current.head.seq));
  };

  for await (const row of rows) {
    count += 1;
    if (current?.chain !== row.chain) {
      end();
      seen.add(row.chain);
      current = { chain: row.chain, head: NO_HEAD, due: (seals.get(row.chain) ?? []).toSorted((a, b) => a.seq - b.seq) };
      if (row.chain === INSTALLATION_CHAIN) {
        first = row;
        current.head = { seq: row.seq - 1, hash: row.prevHash }; // what was before it may be past its retention: judged at the end
      }
    }
    const fault = rowFault(row, current.head);
    if (fault !== undefined) blame({ chain: row.chain, seq: row.seq, what: fault });
    current.head = row;
    for (let [sealed] = current.due; sealed !== undefined && sealed.seq <= row.seq; [sealed] = current.due) {
      current.due.shift();
      if (sealed.seq === row.seq && sealed.hash !== row.hash)
        blame({ chain: row.chain, seq: row.seq, what: `hash is ${row.hash}, but a seal has ${sealed.hash} for this row` });
    }
    if (row.chain !== INSTALLATION_CHAIN) continue;
    if (row.hash === noted) isNotedSeen = true;
    for (const head of sealedHeads(row)) seals.set(head.chain, [...(seals.get(head.chain) ?? []), head]);
    const pruning = pruningOf(row);
    if (pruning && pruning.before < row.at) prunings.push(pruning);
  }
  end();

  if (first) for (const what of beginningFaults(first, prunings)) blame({ chain: INSTALLATION_CHAIN, seq: first.seq, what });
  else if (count > 0) blame({ chain: INSTALLATION_CHAIN, what: 'all of it is missing, but there are chains of sessions' });
  if (prunings.some((pruning) => pruning.through_hash === noted)) isNotedSeen = true;
  if (!isNotedSeen)
    blame({
      chain: INSTALLATION_CHAIN,
      what: `it has no row with the hash ${noted}: its end was removed or rewritten, or that row was past its retention`,
    });
  const prunedBefore = Math.max(...prunings.map(({ before }) => before));
  for (const [chain, heads] of seals) {
    const last = heads.at(-1);
    if (seen.has(chain) || !last || last.at < prunedBefore || (only !== undefined && chain !== only)) continue;
    blame({ chain, what: `all of it is missing: a seal has ${last.seq} rows of it, and it is not past its retention` });
  }
  return { chains: seen.size, rows: count, faults: [...faults.values()] };
}

function lostTail({ chain, seq }: SealedHead, last: number): AuditFault {
  return { chain, seq: last, what: `its end is missing: the last row is ${last}, but a seal has row ${seq}` };
}

/** The installation's chain may begin late only where a row of it says that the rows before were past their retention. */
function beginningFaults({ seq, prevHash }: AuditRow, prunings: readonly Pruning[]): string[] {
  if (seq === NO_HEAD.seq + 1) return prevHash === NO_HEAD.hash ? [] : ['prev_hash of the first row must be all zeros'];
  if (prunings.some((pruning) => pruning.through_seq === seq - 1 && pruning.through_hash === prevHash)) return [];
  return [`its beginning is missing: the first row is ${seq}, and no row says that those before were past their retention`];
}
