import type { SQL } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import type { Call, Step } from './statement.ts';
import type { Tables } from './tables.ts';

/**
 * How much of the world a PostgreSQL transaction sees hold still. SQLite has one writer at a time, so it is always serializable.
 * - `read committed` (the default) is enough where every write is guarded by its own row: compare-and-set, a unique key.
 * - `serializable` is for a decision over rows that it does not write (a sum against a budget): two of those may each be right alone.
 */
export type Isolation = 'read committed' | 'serializable';

/**
 * The database as repositories see it: statements are data, and the store executes them, prepared, on whichever dialect it is.
 * Everything that a statement or a commit throws is a StoreError.
 */
export interface Store<Defined = Tables> {
  readonly dialect: 'sqlite' | 'postgres';
  readonly tables: Defined;
  /** Durability settings as the database itself reports them; opening throws when one is weaker than it must be. */
  readonly settings: Readonly<Record<string, string | number>>;
  /** The instant that leases go by, for use inside a statement: the database's clock where replicas share one, ours on SQLite. */
  readonly leaseNow: SQL<number>;
  /** Locks the selected rows and passes over those that another replica has locked. SQLite has one writer: nothing to pass over. */
  readonly skipLocked: <Select>(select: Select) => Select;
  /** A second opinion on the time, from the database's machine. Absent on SQLite, where it would be our own clock again. */
  readonly clockWitness?: { now(): Promise<EpochMs> };

  /** False while its disk is full, and only what ends things may be written. Absent where that cannot be told. */
  readonly hasRoom?: () => boolean;

  /** Executes one statement outside any transaction. For reading: a write here is durable but shares no commit. */
  read<Row>(call: Call<Row>): Promise<Row[]>;
  /**
   * Runs a body as one transaction and resolves once it is durable. The body is a generator, so it cannot wait for a network, and it
   * is pure: it may run again from the start. A statement that fails ends the transaction, and the body cannot catch it, because
   * PostgreSQL would not let it go on. Expect a duplicate? Say ON CONFLICT DO NOTHING … RETURNING and look for the missing row.
   * Throws StoreError; when its `outcomeUnknown` is true, read by key before anything else.
   */
  write<Result>(body: () => Step<Result>, isolation?: Isolation): Promise<Result>;
  /**
   * Makes deleted bytes leave the disk: call it after key material was shredded. False when a reader from outside held the log open
   * (call again later). PostgreSQL has no such thing, there it does nothing.
   */
  scrub(): Promise<boolean>;
  /** Waits for the writes under way, then closes; again is harmless. Whatever is asked afterwards fails. */
  close(): Promise<void>;
}

/** Hands back the settings a database reports, or throws for the first that is none of the values it may have. */
export function assertSettings<Settings extends Record<string, string | number>>(
  found: Settings,
  allowed: Readonly<Record<keyof Settings, readonly (string | number)[]>>,
): Settings {
  for (const [name, values] of Object.entries(allowed))
    if (!values.includes(found[name] ?? ''))
      throw new Error(`database setting ${name} is ${found[name]}, must be ${values.join(' or ')}`);
  return found;
}
