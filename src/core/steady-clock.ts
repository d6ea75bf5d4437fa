import type { Clock, EpochMs } from './clock.ts';

/** A second opinion on the wall time, from another machine; it may fail. */
export interface ClockWitness {
  now(): Promise<EpochMs>;
}

/** A clock whose `now` does not follow a jump of the machine's clock until somebody else, or time, has confirmed it. */
export interface SteadyClock extends Clock {
  /** True while the machine's clock has jumped and is not believed; `now` then goes on from before the jump. */
  readonly frozen: boolean;
  /** How far the machine's clock stands from what is believed, milliseconds; 0 when it is believed. */
  readonly disagreementMs: number;
  /** Looks at the clocks once; to be called every few seconds. */
  tick(): Promise<void>;
}

interface SteadyClockOptions {
  readonly clock: Clock;
  readonly witness?: ClockWitness;
  /** Without a witness: how long the new time has to run evenly before it is believed. */
  readonly settleMs: number;
  readonly onFreeze?: (jumpMs: number) => void;
  readonly onThaw?: (adoptedMs: number) => void;
}

const TOLERANCE_MS = 5_000;
const AGREEMENTS = 2;

/**
 * Wall time that expiry can be decided by (RULE-R12, REL-F1): a jump of more than 5 s against the monotonic clock freezes it. From then on
 * time goes on from before the jump, by the monotonic clock, so that nothing expires early, and what was really due still is. The new time is
 * believed when the witness agreed twice, or, without one, when it has run evenly for `settleMs`; a jump that is taken back ends it at once.
 */
export function createSteadyClock({ clock, witness, settleMs, onFreeze, onThaw }: SteadyClockOptions): SteadyClock {
  let anchor = { wall: clock.now(), monotonic: clock.monotonicMs() };
  let frozen: { raw: { wall: number; monotonic: number }; agreements: number } | undefined;

  const projected = () => Math.round(anchor.wall + clock.monotonicMs() - anchor.monotonic);

  function now(): EpochMs {
    const raw = clock.now();
    const expected = projected();
    const jumpMs = raw - expected;
    if (Math.abs(jumpMs) <= TOLERANCE_MS) {
      if (frozen) thaw(0);
      anchor = { wall: raw, monotonic: clock.monotonicMs() };
      return raw;
    }
    if (!frozen) {
      frozen = { raw: { wall: raw, monotonic: clock.monotonicMs() }, agreements: 0 };
      onFreeze?.(jumpMs);
    }
    return expected;
  }

  function thaw(adoptedMs: number): void {
    frozen = undefined;
    onThaw?.(adoptedMs);
  }

  function adopt(raw: EpochMs): void {
    const adoptedMs = raw - projected();
    anchor = { wall: raw, monotonic: clock.monotonicMs() };
    thaw(adoptedMs);
  }

  /** The new time has jumped again: the wait for it begins anew. */
  function isUneven(raw: EpochMs, since: { wall: number; monotonic: number }): boolean {
    return Math.abs(raw - since.wall - (clock.monotonicMs() - since.monotonic)) > TOLERANCE_MS;
  }

  return {
    now,
    machineNow: () => clock.machineNow(),
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    timeoutSignal: (ms, parent) => clock.timeoutSignal(ms, parent),
    get frozen() {
      return frozen !== undefined;
    },
    get disagreementMs() {
      return frozen ? clock.now() - projected() : 0;
    },
    async tick() {
      now();
      if (!frozen) return;
      const said = await witness?.now();
      if (!frozen) return;
      const raw = clock.now();
      if (isUneven(raw, frozen.raw)) {
        frozen = { raw: { wall: raw, monotonic: clock.monotonicMs() }, agreements: 0 };
        return;
      }
      if (said === undefined) {
        if (clock.monotonicMs() - frozen.raw.monotonic >= settleMs) adopt(raw);
        return;
      }
      frozen.agreements = Math.abs(said - raw) <= TOLERANCE_MS ? frozen.agreements + 1 : 0;
      if (frozen.agreements >= AGREEMENTS) adopt(raw);
    },
  };
}
