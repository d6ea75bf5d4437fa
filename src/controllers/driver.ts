import { setMaxListeners } from 'node:events';
import type { Clock, EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Controller, Report } from './controller.ts';

/** How a controller has been doing: data for the API, the metrics and the database. */
export interface ControllerStatus {
  readonly name: string;
  readonly periodMs: number;
  readonly running: boolean;
  readonly lastStartedAt?: EpochMs;
  readonly lastDurationMs?: number;
  readonly lastSuccessAt?: EpochMs;
  readonly lastReport?: Report;
  readonly lastError?: string;
  readonly consecutiveFailures: number;
  readonly runs: number;
}

export interface Driver {
  /** Begins every controller's loop. */
  start(): void;
  /** Says that there may be something to do now; during a pass, another one follows. Unknown names are refused. */
  activate(name: string): void;
  statuses(): readonly ControllerStatus[];
  /**
   * No pass begins any more; resolves when those under way, and the work that they began, are done. Work that waits for the outside ends by
   * itself: verification and sampling at once, a call to a provider at its time-out at the latest.
   */
  stop(): Promise<void>;
}

interface DriverDeps {
  readonly controllers: readonly Controller[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told after each pass. Its failure is logged and changes nothing. */
  readonly onPass?: (status: ControllerStatus) => Promise<void> | void;
}

const LONGEST_BACK_OFF_MS = 60 * SECOND_MS;
/** A report whose instant has passed already, again and again, must not become a loop without a rest. */
const SHORTEST_REST_MS = 50;
/** Made once: a rest is cut short thousands of times an hour, and an error of its own costs each time its stack. */
const WOKEN = new Error('woken');

interface Loop {
  readonly controller: Controller;
  status: ControllerStatus;
  activated: boolean;
  wake: AbortController;
}

/** Runs controllers: by their period, when activated, and at the instant that a report names; each never twice at once. */
export function createDriver({ controllers, clock, random, log, onPass }: DriverDeps): Driver {
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal); // every loop and call listens
  const loops = new Map<string, Loop>(
    controllers.map((controller) => [
      controller.name,
      {
        controller,
        status: { name: controller.name, periodMs: controller.periodMs, running: false, consecutiveFailures: 0, runs: 0 },
        activated: false,
        wake: new AbortController(),
      },
    ]),
  );
  const running: Promise<void>[] = [];

  async function runLoop(loop: Loop): Promise<void> {
    while (!stopping.signal.aborted) {
      loop.activated = false;
      await pass(loop);
      if (!loop.activated && !stopping.signal.aborted) await rest(loop);
    }
    await loop.controller.idle?.();
  }

  async function pass(loop: Loop): Promise<void> {
    const { controller } = loop;
    const startedAt = clock.now();
    const startedMonotonic = clock.monotonicMs();
    loop.status = { ...loop.status, running: true, lastStartedAt: startedAt };
    const finished = () => ({
      running: false,
      runs: loop.status.runs + 1,
      lastDurationMs: Math.round(clock.monotonicMs() - startedMonotonic),
    });
    try {
      const report = await controller.reconcile({ signal: stopping.signal });
      const { lastError: _, ...status } = loop.status;
      loop.status = { ...status, ...finished(), lastReport: report, lastSuccessAt: clock.now(), consecutiveFailures: 0 };
      if (report.changed > 0 || report.failed > 0) log.debug({ controller: controller.name, ...report }, 'controller pass');
    } catch (error) {
      const { lastReport: _, ...status } = loop.status;
      const consecutiveFailures = loop.status.consecutiveFailures + 1;
      loop.status = { ...status, ...finished(), lastError: describeError(error), consecutiveFailures };
      if (!stopping.signal.aborted)
        log.error({ controller: controller.name, error: describeError(error), consecutiveFailures }, 'controller pass failed');
    }
    try {
      await onPass?.(loop.status);
    } catch (error) {
      log.error({ controller: controller.name, error: describeError(error) }, 'controller status was not recorded');
    }
  }

  async function rest(loop: Loop): Promise<void> {
    loop.wake = new AbortController(); // stop aborts it too: a composite of a signal that lives long would leave something behind at each rest
    const { signal } = loop.wake;
    try {
      await clock.sleep(restMs(loop), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  function restMs({ status, controller }: Loop): number {
    if (status.consecutiveFailures > 0) {
      const backOff = Math.min(
        SECOND_MS * 2 ** Math.min(status.consecutiveFailures, 10),
        LONGEST_BACK_OFF_MS,
        controller.periodMs,
      );
      return backOff * (0.5 + random.next() / 2);
    }
    const wakeAt = status.lastReport?.wakeAt;
    return wakeAt === undefined
      ? controller.periodMs
      : Math.min(controller.periodMs, Math.max(SHORTEST_REST_MS, wakeAt - clock.now()));
  }

  return {
    start() {
      if (running.length > 0) throw new Error('the driver has been started already');
      for (const loop of loops.values()) running.push(runLoop(loop));
    },
    activate(name) {
      const loop = loops.get(name);
      if (!loop) throw new RangeError(`no controller is named ${name}`);
      loop.activated = true;
      loop.wake.abort(WOKEN);
    },
    statuses: () => [...loops.values()].map(({ status }) => status),
    async stop() {
      stopping.abort(new Error('the broker is shutting down'));
      for (const loop of loops.values()) loop.wake.abort(WOKEN);
      await Promise.all(running);
    },
  };
}
