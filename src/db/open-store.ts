import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Secret } from '../core/secret.ts';
import { openPostgres } from './postgres-store.ts';
import { berthSchema, type Schema } from './schema.ts';
import { openSqlite } from './sqlite-store.ts';
import type { StoreError } from './store-error.ts';
import type { Store } from './store.ts';

export interface OpenStoreRequest {
  /** `postgres://…`: with it the store is PostgreSQL, without it the SQLite file. */
  url?: Secret<string> | undefined;
  /** The SQLite file. It and its folder are made where missing; `<path>.lock` appears beside it. */
  path: string;
  clock: Clock;
  random: Pick<Random, 'next'>;
  log: Log;
  /** Whether a megabyte beside the SQLite file is held back for the day when the disk is full; false when absent. */
  withBallast?: boolean;
  /**
   * Called once when the disk under the SQLite file failed. Whether the last commit happened is unknown and every later write is refused:
   * the process has to end, at once and with a failure, and be started again.
   */
  onFatal(error: StoreError): void;
}

/**
 * Opens Berth's database, migrated to this build and checked. Throws an Error fit for the operator (it names the file or variable
 * and what to do) when another process has it, when it is not ours, damaged, newer than this build, or not durable enough.
 */
export function openStore(request: OpenStoreRequest): Promise<Store> {
  return openStoreOf(berthSchema, request);
}

/** The same with another schema than Berth's own. */
export async function openStoreOf<Defined extends object>(
  schema: Schema<Defined>,
  request: OpenStoreRequest,
): Promise<Store<Defined>> {
  const { url, path, clock, random, log, withBallast = false, onFatal } = request;
  if (!url) return openSqlite({ schema, path, clock, random, log, withBallast, onFatal });
  assertPostgresUrl(url);
  return openPostgres({ schema, url, clock, random, log });
}

/** Says nothing of the url itself: it holds a password. */
function assertPostgresUrl(url: Secret<string>): void {
  const text = url.reveal();
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text))
    throw new Error('DATABASE_URL is no PostgreSQL address: it must look like postgres://user:password@host:5432/berth');
}
