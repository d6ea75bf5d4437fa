import { describe, expect, it } from 'vitest';
import { gpuSlice, vramSlice, WHOLE, type OfferSlice } from '../offers/offer-slices.ts';
import { afterFailure, afterListing, nextSlice, START, type ListingPlan } from './listing-plan.ts';

const RHYTHM_MS = 300_000;
const [h100, big] = [gpuSlice('H100 SXM'), vramSlice(80)];

/** Lists whatever is due, minute by minute, and tells what was asked. */
function play({
  minutes,
  wishes = [],
  isSame = false,
  rhythmMs = RHYTHM_MS,
  isTruncated = true,
}: {
  minutes: number;
  wishes?: readonly OfferSlice[];
  isSame?: boolean;
  rhythmMs?: number;
  isTruncated?: boolean;
}) {
  let plan: ListingPlan = START;
  const asked: { at: number; name: string }[] = [];
  for (let minute = 0; minute <= minutes; minute += 1) {
    const nowMs = minute * 60_000;
    for (let next = nextSlice(plan, { wishes, nowMs, rhythmMs }); next; next = nextSlice(plan, { wishes, nowMs, rhythmMs })) {
      asked.push({ at: minute, name: next.slice.name });
      plan = afterListing(plan, { ...next, nowMs, rhythmMs }, { isTruncated, isSame, hasWishes: wishes.length > 0 });
    }
  }
  return { plan, asked, names: asked.map(({ name }) => name) };
}

describe('the plan of listings', () => {
  it('asks for the whole in its rhythm', () => {
    expect(play({ minutes: 10 }).asked).toEqual([0, 5, 10].map((at) => ({ at, name: WHOLE })));
  });

  it('asks for what was wished for at once, then in turn with the whole, which never waits longer than two rhythms', () => {
    const { asked } = play({ minutes: 20, wishes: [h100] });

    expect(asked).toEqual([
      { at: 0, name: WHOLE },
      { at: 0, name: 'gpu:h100sxm' },
      { at: 5, name: 'gpu:h100sxm' },
      { at: 10, name: WHOLE },
      { at: 15, name: 'gpu:h100sxm' },
      { at: 20, name: WHOLE },
    ]);
  });

  it('takes the part that waited longest', () => {
    const { asked } = play({ minutes: 20, wishes: [h100, big] });
    const inTurn = asked.filter(({ at, name }) => at > 0 && name !== WHOLE);

    expect(inTurn.map(({ name }) => name)).toEqual(['gpu:h100sxm', 'vram:80']);
  });

  it('asks for no part where the whole comes at once', () => {
    expect(new Set(play({ minutes: 20, wishes: [h100], isTruncated: false }).names)).toEqual(new Set([WHOLE]));
  });

  it('spends no more than a quarter beyond the rhythm on wishes that never end', () => {
    let plan: ListingPlan = START;
    let count = 0;
    const hours = 24;
    for (let minute = 0; minute < hours * 60; minute += 1) {
      const nowMs = minute * 60_000;
      const wishes = [gpuSlice('H100'), vramSlice(minute + 1)]; // another one each minute
      for (let next = nextSlice(plan, { wishes, nowMs, rhythmMs: RHYTHM_MS }); next;) {
        count += 1;
        plan = afterListing(
          plan,
          { ...next, nowMs, rhythmMs: RHYTHM_MS },
          { isTruncated: true, isSame: false, hasWishes: true },
        );
        next = nextSlice(plan, { wishes, nowMs, rhythmMs: RHYTHM_MS });
      }
    }
    const inRhythm = (hours * 60) / 5;

    expect(count).toBeGreaterThan(inRhythm);
    expect(count).toBeLessThanOrEqual(inRhythm * 1.25 + 5);
  });

  it('goes slower, up to half the rhythm, while a market whose listings cost something does not move', () => {
    const { asked } = play({ minutes: 60, isSame: true });
    const last = asked.slice(-2).map(({ at }) => at);

    expect((last[1] ?? 0) - (last[0] ?? 0)).toBe(10);
    expect(play({ minutes: 10, isSame: true, rhythmMs: 30_000 }).names).toHaveLength(11);
  });

  it('after a failure asks again soon, then less and less often, and never before it is allowed to', () => {
    const failed = (failures: number, retryAfterMs = 0) =>
      afterFailure(START, {
        slice: { name: WHOLE, query: {} },
        isEarly: false,
        nowMs: 0,
        rhythmMs: RHYTHM_MS,
        failures,
        retryAfterMs,
        longestMs: 60_000,
      }).dueMs;

    expect([failed(1), failed(2), failed(3), failed(9), failed(1, 3_600_000)]).toEqual([
      5_000, 10_000, 20_000, 60_000, 3_600_000,
    ]);
  });

  it('a part that fails costs the whole nothing, and no other part is asked for before its turn meanwhile', () => {
    const listed = afterListing(
      START,
      { slice: { name: WHOLE, query: {} }, isEarly: false, nowMs: 0, rhythmMs: RHYTHM_MS },
      { isTruncated: true, isSame: false, hasWishes: true },
    );
    const failed = afterFailure(listed, {
      slice: h100,
      isEarly: true,
      nowMs: 1_000,
      rhythmMs: RHYTHM_MS,
      failures: 1,
      retryAfterMs: 600_000,
      longestMs: 60_000,
    });

    expect(failed.dueMs).toBe(listed.dueMs);
    expect(nextSlice(failed, { wishes: [big], nowMs: 200_000, rhythmMs: RHYTHM_MS })).toBeUndefined();
    expect(nextSlice(failed, { wishes: [big], nowMs: 300_000, rhythmMs: RHYTHM_MS })?.slice).toEqual(big);
  });
});
