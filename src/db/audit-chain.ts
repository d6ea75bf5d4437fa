import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../core/canonical-json.ts';
import type { EpochMs } from '../core/clock.ts';
import type { AuditRow } from './tables.ts';

/**
 * A chain is a sequence of rows that each carry the hash of the one before: none can be edited, removed from the middle, or moved without
 * every later hash being wrong. What a chain alone cannot show, that its end or all of it is missing, the seals show: rows of the
 * installation's chain that hold the heads of the others (ADR 0025).
 */

/** The chain of what belongs to no session: starts, seals, orphans. No session's id looks like it. */
export const INSTALLATION_CHAIN = 'installation';

/** What the first row of a chain has for the hash of the row before it. */
export const GENESIS_HASH = '0'.repeat(64);

/** Who did it, or wanted it. */
export type AuditActor = 'consumer' | 'operator' | 'broker' | 'provider';

/** Plain JSON: texts, whole numbers, lists and objects of them. Never a secret, never a key. */
export type AuditData = Readonly<Record<string, unknown>>;

/** A row before it has its place in a chain. */
export interface AuditEntry {
  readonly actor: AuditActor;
  /** `noun.past`. */
  readonly kind: string;
  readonly data: AuditData;
}

/** The last row of a chain, or as much of it as the next row needs. */
export type ChainHead = Pick<AuditRow, 'seq' | 'hash'>;

/** The head of a chain with its name and its time, as a seal remembers it. */
export type SealedHead = Pick<AuditRow, 'chain' | 'seq' | 'hash' | 'at'>;

export const NO_HEAD: ChainHead = { seq: 0, hash: GENESIS_HASH };

/** SHA-256 over the canonical JSON of all columns but `hash`, under the names that the database and the export have for them. */
export function auditHash({ chain, seq, at, actor, kind, data, prevHash }: Omit<AuditRow, 'hash'>): string {
  return createHash('sha256')
    .update(canonicalJson({ chain, seq, at, actor, kind, data, prev_hash: prevHash }))
    .digest('hex');
}

/** The rows that follow `head` in a chain. */
export function chained(chain: string, head: ChainHead, at: EpochMs, entries: readonly AuditEntry[]): AuditRow[] {
  const rows: AuditRow[] = [];
  let last = head;
  for (const { actor, kind, data } of entries) {
    const row = { chain, seq: last.seq + 1, at, actor, kind, data: canonicalJson(data), prevHash: last.hash };
    last = { ...row, hash: auditHash(row) };
    rows.push(last as AuditRow); // holds because it was made of `row` in the line above
  }
  return rows;
}

/** What is wrong with a row that follows `before` in the same chain; undefined when nothing is. */
export function rowFault(row: AuditRow, before: ChainHead): string | undefined {
  if (row.seq <= before.seq) return `row ${row.seq} comes after row ${before.seq}`;
  if (row.seq !== before.seq + 1) return `row ${before.seq + 1} is missing: after row ${before.seq} comes row ${row.seq}`;
  if (row.prevHash !== before.hash) return `prev_hash is ${row.prevHash}, but the hash of the row before it is ${before.hash}`;
  const hash = auditHash(row);
  return row.hash === hash ? undefined : `hash is ${row.hash}, but its columns hash to ${hash}: the row was edited`;
}

/** The kinds of rows by which the installation's chain speaks of the others. */
export const SEALED = 'audit.sealed';
export const PRUNED = 'audit.pruned';

const Seal = z.object({ heads: z.record(z.string(), z.object({ seq: z.int(), hash: z.string(), at: z.int() })) });
const Pruning = z.object({ before: z.int(), through_seq: z.int().optional(), through_hash: z.string().optional() });
export type Pruning = z.infer<typeof Pruning>;

export function sealOf(heads: readonly SealedHead[]): AuditEntry {
  const data = { heads: Object.fromEntries(heads.map(({ chain, seq, hash, at }) => [chain, { seq, hash, at }])) };
  return { actor: 'broker', kind: SEALED, data };
}

/** The heads that a row of the installation's chain seals; none when it is no seal. */
export function sealedHeads({ kind, data }: Pick<AuditRow, 'kind' | 'data'>): SealedHead[] {
  const seal = kind === SEALED ? Seal.safeParse(parsed(data)) : undefined;
  return seal?.success ? Object.entries(seal.data.heads).map(([chain, head]) => ({ chain, ...head })) : [];
}

/** What a row of the installation's chain says of deleted rows; undefined when it is about something else. */
export function pruningOf({ kind, data }: Pick<AuditRow, 'kind' | 'data'>): Pruning | undefined {
  const pruning = kind === PRUNED ? Pruning.safeParse(parsed(data)) : undefined;
  return pruning?.success ? pruning.data : undefined;
}

/** The data of a row; undefined when it is no JSON, because somebody edited it. */
export function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
