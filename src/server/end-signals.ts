import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';

export type EndSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/**
 * The signals by which people and service managers ask for the end. close-with-grace is told to leave them alone: at the first one it stops
 * listening for a moment, in which a second one ends the process on the spot, and any second one is meant to.
 */
export const END_SIGNALS: EndSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** So soon after the first it is the same wish: Ctrl-C goes to every process of a terminal, and npm passes it on to its child, which has it already. */
const ECHO_MS = 2 * SECOND_MS;

interface EndSignalsRequest {
  readonly source: {
    on(signal: EndSignal, listener: (signal: EndSignal) => void): unknown;
    off(signal: EndSignal, listener: (signal: EndSignal) => void): unknown;
  };
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Told once. */
  onFirst(signal: EndSignal): void;
  /** Told of each that comes later than an echo: somebody does not want to wait. */
  onAgain(signal: EndSignal): void;
}

/** Listens until it is told to stop, without a gap. */
export function listenForEnd({ source, clock, onFirst, onAgain }: EndSignalsRequest): { stop(): void } {
  let firstMs: number | undefined;
  const listener = (signal: EndSignal) => {
    const nowMs = clock.monotonicMs();
    if (firstMs === undefined) {
      firstMs = nowMs;
      return onFirst(signal);
    }
    if (nowMs - firstMs > ECHO_MS) onAgain(signal);
  };
  for (const signal of END_SIGNALS) source.on(signal, listener);
  return {
    stop: () => {
      for (const signal of END_SIGNALS) source.off(signal, listener);
    },
  };
}
