import PQueue from 'p-queue';
import type { Clock } from '../../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../core/duration.ts';
import { ProviderError } from '../provider-error.ts';
import type { ProviderOperation } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { describeCall, URGENCY } from '../calls.ts';
import { aroundEveryCall } from './around.ts';
import type { Proceed, ProviderCall } from './around.ts';

export interface LaneSettings {
  /** How many calls of an account run at once, destroys apart. */
  readonly concurrency: number;
  /** How many destroys run at once; they share no slot with anything. */
  readonly destroyConcurrency: number;
  /** The longest time that a call waits for its lane's pause to end; past it the call is refused with the rest of the wait. */
  readonly longestWaitMs: number;
  /** The longest time that destroys are held back, whatever the provider asks: an unpaid wait costs nothing, an undestroyed machine does. */
  readonly longestDestroyPauseMs: number;
}

export const DEFAULT_LANES: LaneSettings = {
  concurrency: 8,
  destroyConcurrency: 8,
  longestWaitMs: 30 * SECOND_MS,
  longestDestroyPauseMs: MINUTE_MS,
};

/**
 * Lanes for one account. Each operation is a lane that pauses for as long as the provider said with `rate_limited`; all but destroy share
 * a number of slots, given by priority. Destroy has slots of its own, so that no storm of reads, and no pause but its own, delays it.
 * `dialSsh` is a stream to the instance, no call to the vendor's API, and passes by. A call that is cancelled while it waits is
 * `unavailable`: it was not sent, so nothing was made.
 */
export function rateLimited(
  provider: Provider,
  {
    clock,
    settings = DEFAULT_LANES,
  }: { readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>; readonly settings?: LaneSettings },
): Provider {
  const shared = new PQueue({ concurrency: settings.concurrency });
  const destroys = new PQueue({ concurrency: settings.destroyConcurrency });
  const pausedUntil = new Map<ProviderOperation, number>();

  const pauseLeftMs = (operation: ProviderOperation) => Math.max(0, (pausedUntil.get(operation) ?? 0) - clock.monotonicMs());
  const notePause = (operation: ProviderOperation, error: unknown) => {
    if (!(error instanceof ProviderError) || error.kind !== 'rate_limited' || error.retryAfterMs === undefined) return;
    const longestMs = operation === 'DestroyInstance' ? settings.longestDestroyPauseMs : Infinity;
    const until = clock.monotonicMs() + Math.min(error.retryAfterMs, longestMs);
    pausedUntil.set(operation, Math.max(until, pausedUntil.get(operation) ?? 0));
  };

  return aroundEveryCall(provider, async <Result>({ operation, options }: ProviderCall, proceed: Proceed<Result>) => {
    if (operation === 'DialSsh') return proceed(options);
    const { signal } = options;
    const queue = operation === 'DestroyInstance' ? destroys : shared;
    const notSent = (kind: 'unavailable' | 'rate_limited', why: string, more: { retryAfterMs?: number; cause?: unknown }) => {
      const message = `${describeCall(provider, operation)}: not sent, ${why}`;
      return new ProviderError({ kind, provider: provider.id, operation, message, ...more });
    };
    const waitWhilePaused = async () => {
      for (let leftMs = pauseLeftMs(operation); leftMs > 0; leftMs = pauseLeftMs(operation)) {
        if (operation !== 'DestroyInstance' && leftMs > settings.longestWaitMs) {
          throw notSent('rate_limited', 'the provider asked for a pause', { retryAfterMs: Math.ceil(leftMs) });
        }
        await clock.sleep(leftMs, signal).catch((cause: unknown) => {
          throw notSent('unavailable', 'cancelled while waiting for its turn', { cause });
        });
      }
    };

    for (;;) {
      await waitWhilePaused();
      // When the signal aborts, the queue rejects with the bare reason even for a task that has begun. What became of a call
      // that was sent, only its own promise knows: so that is what is returned, never what the queue says.
      const call: { sent?: Promise<Result> } = {};
      const turn = async () => {
        if (pauseLeftMs(operation) > 0) return; // paused while it stood in the queue: back to the gate
        call.sent = proceed(options);
        await call.sent.catch((error: unknown) => notePause(operation, error));
      };
      try {
        await queue.add(turn, { priority: URGENCY[operation], signal });
      } catch (cause) {
        if (!call.sent) throw notSent('unavailable', 'cancelled while waiting for its turn', { cause });
      }
      if (call.sent) return call.sent;
    }
  });
}
