import { describeError } from '../core/errors.ts';
import type { SteadyClock } from '../core/steady-clock.ts';
import type { Log } from '../core/log.ts';
import type { Verdict } from '../controllers/provider-check.ts';
import type { InstallationRepository } from '../db/installation-repository.ts';
import type { Store } from '../db/store.ts';
import type { HealthReport } from '../http/http-deps.ts';
import type { OfferBook } from '../offers/offer-book.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import type { Provider } from '../provider/provider.ts';
import type { RecoveryMode } from '../sessions/recovery-mode.ts';

interface HealthDeps {
  readonly installation: InstallationRepository;
  readonly store: Pick<Store, 'hasRoom'>;
  readonly book: OfferBook;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly deploymentId: DeploymentId;
  readonly version: string;
  readonly clock: Pick<SteadyClock, 'frozen' | 'monotonicMs'>;
  readonly hasSwept: () => boolean;
  readonly recovery: Pick<RecoveryMode, 'read'>;
  readonly verdictOf: (provider: ProviderId) => Verdict | undefined;
  readonly log: Log;
}

const PROBE_EVERY_MS = 1_000;

/** How the broker is: asked anew each time, so that it cannot be stale. */
export function createHealth(deps: HealthDeps): () => Promise<HealthReport> {
  const { installation, store, book, providers, deploymentId, version, clock, hasSwept, recovery, verdictOf, log } = deps;
  let probed: { readonly atMs: number; readonly writable: Promise<boolean> } | undefined;

  /** Whoever asks often is told the same for a moment: the page is open to everybody, and each probe is a write. */
  function isDatabaseWritable(): Promise<boolean> {
    const atMs = clock.monotonicMs();
    if (!probed || atMs - probed.atMs >= PROBE_EVERY_MS) probed = { atMs, writable: probe() };
    return probed.writable;
  }

  async function probe(): Promise<boolean> {
    try {
      await installation.probeWrite();
      return store.hasRoom?.() ?? true;
    } catch (error) {
      log.error({ error: describeError(error) }, 'the database takes no writes');
      return false;
    }
  }

  /** What a database that fails cannot tell is left out: that it fails is told beside it. */
  async function recoveryNow(): Promise<Pick<HealthReport, 'recovery'>> {
    try {
      const state = await recovery.read();
      return state.isOn ? { recovery: { since: state.since, cause: state.cause, reason: state.reason } } : {};
    } catch (error) {
      log.error({ error: describeError(error) }, 'the recovery mode could not be read');
      return {};
    }
  }

  return async () => ({
    ...(await recoveryNow()),
    deploymentId,
    version,
    databaseWritable: await isDatabaseWritable(),
    simulated: providers.size > 0 && [...providers.values()].every(({ capabilities }) => capabilities.simulated),
    clockFrozen: clock.frozen,
    baseUrlOverridden: [],
    providers: book.providers().map(({ id, simulated, observedAt, error }) => {
      const verdict = verdictOf(id);
      const problem = verdict?.ok === false ? verdict.message : error?.message;
      const state = problem !== undefined ? 'failing' : observedAt === undefined ? 'starting' : 'ok';
      const listAttempted = hasSwept() && book.snapshot(id)?.lastAttemptAt !== undefined;
      return { id, simulated, state, listAttempted, ...(problem === undefined ? {} : { error: problem }) };
    }),
  });
}
