import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { readBanner } from '../ssh/banner.ts';
import { openDial } from '../ssh/reach.ts';

/** How a provider gets to the sshd of one instance. */
export type Dial = (signal: AbortSignal) => Promise<Duplex>;

interface ReachRequest {
  readonly dial: Dial;
  readonly clock: Pick<Clock, 'sleep' | 'timeoutSignal'>;
  /** Nobody waits for it any more. */
  readonly signal: AbortSignal;
  readonly budgetMs: number;
  /** A try that failed; another one follows, unless it was the last. */
  readonly onFailure: (error: unknown) => void;
}

/** A stream that was opened before the sshd listened never comes to life: then only dialling again helps. */
const BANNER_MS = 4 * SECOND_MS;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2 * SECOND_MS;

/**
 * Dials until a sshd names itself, within the budget. What comes back has not lost a byte. Throws what the last try failed with: what is no
 * sshd (an error text of a proxy, say) is never shown to the consumer's client.
 */
export async function reachInstance({ dial, clock, signal, budgetMs, onFailure }: ReachRequest): Promise<Duplex> {
  const over = clock.timeoutSignal(budgetMs, signal);
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    let stream: Duplex | undefined;
    try {
      stream = await openDial(dial, over);
      stream.on('error', () => {}); // heard by whoever reads; a stream without any listener would end the process
      await readBanner(stream, clock.timeoutSignal(BANNER_MS, over));
      return stream;
    } catch (error) {
      stream?.destroy();
      if (!signal.aborted) onFailure(error);
      try {
        await clock.sleep(pauseMs, over);
      } catch {
        throw error;
      }
    }
  }
}
