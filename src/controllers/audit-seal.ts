import type { Clock } from '../core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import type { Log } from '../core/log.ts';
import { SEALED, sealOf, type SealedHead } from '../db/audit-chain.ts';
import type { AuditRepository } from '../db/audit-repository.ts';
import type { LeaseRepository } from '../db/lease-repository.ts';
import type { Controller } from './controller.ts';

interface AuditSealDeps {
  readonly audit: Pick<AuditRepository, 'append' | 'head' | 'headsSince' | 'lastOfKind' | 'prune'>;
  readonly leases: Pick<LeaseRepository, 'hold' | 'seize'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly log: Log;
  readonly settings: {
    readonly periodMs: number;
    /** How long rows are kept after their session's row has gone. */
    readonly retentionMs: number;
    /** Names this process among the replicas. */
    readonly holder: string;
    /** No other process has this database. */
    readonly exclusive: boolean;
  };
}

const LEASE = 'audit.seal';
/** A row may be committed so long after the instant that it bears, whoever's clock that was. */
const OVERLAP_MS = 10 * MINUTE_MS;
const HEADS_A_ROW = 200;
const PRUNE_EVERY_MS = HOUR_MS;
const CHAINS_A_PRUNING = 500;

/**
 * Writes the heads of the sessions' chains that have grown into the installation's chain, so that a chain whose end or whole is removed is missed,
 * and deletes rows past their retention. One replica at a time; two at once would only say the same twice.
 */
export function createAuditSealController({ audit, leases, clock, log, settings }: AuditSealDeps): Controller {
  /** What this process has sealed of late; without it heads are sealed a second time, which does no harm. */
  let sealed = new Map<string, number>();
  let prunedMs = Number.NEGATIVE_INFINITY;

  async function seal(): Promise<number> {
    const last = await audit.lastOfKind(SEALED);
    const now = clock.now();
    const heads = latestOf(await audit.headsSince(last ? Math.min(last.at, now) - OVERLAP_MS : 0));
    const grown = heads.filter(({ chain, seq }) => sealed.get(chain) !== seq);
    for (let from = 0; from < grown.length; from += HEADS_A_ROW) {
      const some = grown.slice(from, from + HEADS_A_ROW);
      const { seq, hash } = await audit.append(now, [sealOf(some)]);
      log.debug({ chains: some.length, seq, hash }, 'audit chains sealed');
    }
    sealed = new Map(heads.map(({ chain, seq }) => [chain, seq]));
    return grown.length;
  }

  async function prune(): Promise<number> {
    if (clock.monotonicMs() - prunedMs < PRUNE_EVERY_MS) return 0;
    const now = clock.now();
    const deleted = await audit.prune({ before: now - settings.retentionMs, at: now, limit: CHAINS_A_PRUNING });
    if (deleted > 0) log.info({ rows: deleted }, 'audit rows past their retention deleted');
    else prunedMs = clock.monotonicMs(); // else there may be more
    return deleted;
  }

  return {
    name: LEASE,
    periodMs: settings.periodMs,
    async reconcile() {
      const request = { name: LEASE, holder: settings.holder, forMs: 3 * settings.periodMs };
      const term = await (settings.exclusive ? leases.seize(request) : leases.hold(request));
      if (term === undefined) return { examined: 0, changed: 0, failed: 0, details: { lease: 'held by another' } };
      const chains = await seal();
      const deleted = await prune();
      const { seq, hash } = await audit.head();
      return { examined: chains, changed: chains + deleted, failed: 0, details: { chains, deleted, rows: seq, head: hash } };
    },
  };
}

/** One head a chain; where a row is missing before it, there are two. */
function latestOf(heads: readonly SealedHead[]): SealedHead[] {
  return [...new Map(heads.map((head) => [head.chain, head])).values()];
}
