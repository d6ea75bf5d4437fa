import type { Clock, EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError, type ProviderErrorKind } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { Controller } from './controller.ts';

/** What a provider's own check said last: whether its credentials and its address work, in its own plain words. */
export type Verdict =
  | { readonly ok: true; readonly at: EpochMs }
  | { readonly ok: false; readonly at: EpochMs; readonly kind: ProviderErrorKind; readonly message: string };

export interface ProviderCheckController extends Controller {
  /** Undefined until the provider has been checked once. */
  verdictOf(provider: ProviderId): Verdict | undefined;
}

interface ProviderCheckDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

/** One that fails is asked again this soon, so that what was mended is seen to be mended. */
const CHECK_AGAIN_MS = 30 * SECOND_MS;

/** Asks each provider from time to time whether it works. One that does not is on all the same, degraded and loudly: it may come back by itself. */
export function createProviderCheckController({ providers, clock, log, settings }: ProviderCheckDeps): ProviderCheckController {
  const verdicts = new Map<ProviderId, Verdict>();

  async function judge(provider: Provider, signal: AbortSignal): Promise<Verdict> {
    try {
      await provider.check({ signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
      return { ok: true, at: clock.now() };
    } catch (error) {
      const [kind, message] =
        error instanceof ProviderError ? [error.kind, error.message] : (['protocol', describeError(error)] as const);
      return { ok: false, at: clock.now(), kind, message };
    }
  }

  function note(provider: ProviderId, verdict: Verdict): boolean {
    const before = verdicts.get(provider);
    verdicts.set(provider, verdict);
    if (before?.ok === verdict.ok) return false;
    if (verdict.ok) log.info({ provider }, 'provider passes its check');
    else
      log.error(
        { provider, kind: verdict.kind, error: verdict.message },
        'provider fails its check: nothing can be rented there until that is mended',
      );
    return true;
  }

  return {
    name: 'provider.check',
    periodMs: settings.periodMs,
    verdictOf: (provider) => verdicts.get(provider),

    async reconcile({ signal }) {
      const outcomes = await Promise.all(
        [...providers.values()].map(async (provider) => {
          const verdict = await judge(provider, signal);
          return signal.aborted
            ? { changed: false, failed: false }
            : { changed: note(provider.id, verdict), failed: !verdict.ok };
        }),
      );
      const failed = outcomes.filter((outcome) => outcome.failed).length;
      return {
        examined: outcomes.length,
        changed: outcomes.filter(({ changed }) => changed).length,
        failed,
        ...(failed > 0 ? { wakeAt: clock.now() + CHECK_AGAIN_MS } : {}),
      };
    },
  };
}
