import { describe, expect, it } from 'vitest';
import { countedId } from '../../test/support/counted-ids.ts';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { MINUTE_MS } from '../core/duration.ts';
import type { OfferFailure } from '../db/tables.ts';
import { offerId, providerId } from '../provider/ids.ts';
import { createFailureMemory, isOfferFault } from './failure-memory.ts';

const minutes = (count: number) => count * MINUTE_MS;
const offer = anOffer({ provider: providerId('market'), machineId: 'm1' });
let sessions = 0;

function aFailure(overrides: Partial<OfferFailure> = {}): OfferFailure {
  return {
    sessionId: countedId('ses', (sessions += 1)),
    ordinal: 1,
    provider: offer.provider,
    offerId: offer.id,
    machineId: 'm1',
    gpuType: offer.gpuType,
    kind: 'stale_inventory',
    reason: 'no longer available',
    at: 0,
    ...overrides,
  };
}

describe('what counts', () => {
  it.each(['auth', 'rate_limited', 'unavailable', 'rejected', 'funds', 'ambiguous', 'protocol', 'cancelled', 'toString'])(
    'PEER-11.2.19: %s is not the fault of the offer, however often it happens',
    (kind) => {
      const memory = createFailureMemory(Array.from({ length: 50 }, () => aFailure({ kind })));

      expect(isOfferFault(kind)).toBe(false);
      expect(memory.view(offer, 1)).toEqual({ multiplier: 1 });
      expect(memory.knows(offer.provider)).toBe(false);
    },
  );

  it('follows the machine when the market renames its offer, and another provider’s machine of that name is none of its business', () => {
    const memory = createFailureMemory([aFailure()]);

    expect(memory.view({ ...offer, id: offerId('market-new') }, 1)).toMatchObject({ suppressedUntil: minutes(3) });
    expect(memory.view({ ...offer, machineId: 'm2' }, 1)).toEqual({ multiplier: 1 });
    expect(memory.view({ ...offer, provider: providerId('other') }, 1)).toEqual({ multiplier: 1 });
  });

  it('goes by the offer where no machine is known', () => {
    const { machineId: _, ...bare } = offer;
    const memory = createFailureMemory([aFailure({ machineId: null })]);

    expect(memory.view(bare, 1)).toMatchObject({ suppressedUntil: minutes(3) });
    expect(memory.view({ ...bare, id: offerId('market-other') }, 1)).toEqual({ multiplier: 1 });
  });
});

describe('an offer that was taken', () => {
  it('is hidden for three minutes, then shown again', () => {
    const memory = createFailureMemory([aFailure()]);

    expect(memory.view(offer, minutes(3) - 1).suppressedUntil).toBe(minutes(3));
    expect(memory.view(offer, minutes(3)).suppressedUntil).toBeUndefined();
  });

  it('is hidden twice as long each time it is still taken afterwards, up to half an hour', () => {
    const memory = createFailureMemory([0, 3, 9, 21, 45].map((minute) => aFailure({ at: minutes(minute) })));

    const ends = [0, 3, 9, 21, 45].map((minute) => memory.view(offer, minutes(minute)).suppressedUntil);

    expect(ends).toEqual([3, 9, 21, 45, 75].map(minutes));
  });

  it('is not hidden longer because many met it at once', () => {
    const memory = createFailureMemory([0, 1, 2, 3].map((second) => aFailure({ at: second * 1_000 })));

    expect(memory.view(offer, 5_000).suppressedUntil).toBe(minutes(3));
  });
});

describe('a machine that does not boot', () => {
  const bootFailures = ['ssh_verify_timeout', 'gpu_mismatch', 'instance_vanished'];

  it('is hidden for half an hour after three sessions met it within half an hour', () => {
    const memory = createFailureMemory(bootFailures.map((kind, at) => aFailure({ kind, at: minutes(10 * at) })));

    expect(memory.view(offer, minutes(20) - 1).suppressedUntil).toBeUndefined();
    expect(memory.view(offer, minutes(20)).suppressedUntil).toBe(minutes(50));
    expect(memory.view(offer, minutes(50)).suppressedUntil).toBeUndefined();
  });

  it.each([
    ['three over a longer time', [0, 15, 30].map((minute) => aFailure({ kind: 'wrong_host', at: minutes(minute) }))],
    ['two', [0, 1].map((minute) => aFailure({ kind: 'wrong_host', at: minutes(minute) }))],
    [
      'one session alone',
      [1, 2, 3].map((ordinal) => aFailure({ kind: 'instance_stopped', sessionId: countedId('ses', 7), ordinal, at: ordinal })),
    ],
    ['changed prices', [1, 2, 3].map((at) => aFailure({ kind: 'price_changed', at }))],
  ])('is not hidden for %s', (_, failures) => {
    const memory = createFailureMemory(failures);

    for (const minute of [0, 1, 15, 30, 31]) expect(memory.view(offer, minutes(minute)).suppressedUntil).toBeUndefined();
  });
});

describe('confidence', () => {
  it.each([
    [1, 0.7],
    [2, 0.49],
    [20, 0.05],
  ])('after %i failures %d of it is left', (count, multiplier) => {
    const memory = createFailureMemory(Array.from({ length: count }, () => aFailure({ kind: 'price_changed' })));

    expect(memory.view(offer, 1).multiplier).toBeCloseTo(multiplier, 10);
  });

  it('comes back half an hour after the failure', () => {
    const memory = createFailureMemory([aFailure({ kind: 'price_changed' })]);

    expect(memory.view(offer, minutes(30)).multiplier).toBe(1);
  });

  it('sinks for all offers of a type of which three machines failed, without hiding the others', () => {
    const memory = createFailureMemory(['m2', 'm3', 'm4'].map((machineId) => aFailure({ machineId })));

    expect(memory.view(offer, 1)).toEqual({ multiplier: 0.3 });
    expect(memory.view({ ...offer, gpuType: 'L4' }, 1)).toEqual({ multiplier: 1 });
    expect(memory.view(offer, minutes(60))).toEqual({ multiplier: 1 });
  });

  it('does not take one machine that failed often for three', () => {
    const memory = createFailureMemory([1, 2, 3].map((at) => aFailure({ machineId: 'm2', at })));

    expect(memory.view(offer, 10)).toEqual({ multiplier: 1 });
  });
});

describe('nextChangeAt', () => {
  it('names every moment at which a view changes', () => {
    const memory = createFailureMemory([
      ...['a', 'b', 'c'].map((machineId, at) => aFailure({ machineId, at: at * 1_000 })),
      ...[0, 4, 11].map((minute) => aFailure({ kind: 'instance_stopped', at: minutes(minute) })),
      aFailure({ at: minutes(12) }),
    ]);
    const watched = [offer, { ...offer, machineId: 'a' }, { ...offer, machineId: 'z' }];
    const moments = new Set<number>();
    for (let at = memory.nextChangeAt(-1); at !== undefined; at = memory.nextChangeAt(at)) moments.add(at);

    const missed: number[] = [];
    for (let now = 0; now < minutes(90); now += 500) {
      const changed = watched.some(
        (one) => JSON.stringify(memory.view(one, now)) !== JSON.stringify(memory.view(one, now - 500)),
      );
      if (changed && !moments.has(now)) missed.push(now);
    }

    expect(missed).toEqual([]);
    expect(memory.nextChangeAt(minutes(100))).toBeUndefined();
  });
});

describe('health', () => {
  it('tells what is remembered of each offer and type', () => {
    const memory = createFailureMemory([
      aFailure({ kind: 'ssh_verify_timeout', reason: 'no sshd', at: minutes(1) }),
      aFailure({ reason: 'taken', at: minutes(2) }),
    ]);

    expect(memory.health(minutes(3))).toEqual({
      offers: [
        {
          offerId: offer.id,
          provider: offer.provider,
          gpuType: 'RTX 4090',
          recentFailures: 2,
          suppressedAt: minutes(2),
          suppressedUntil: minutes(5),
          multiplier: expect.closeTo(0.49, 10),
          lastFailureAt: minutes(2),
          lastFailureKind: 'stale_inventory',
          lastFailureReason: 'taken',
        },
      ],
      gpuTypes: [{ provider: offer.provider, gpuType: 'RTX 4090', failedMachines: 1, isDegraded: false }],
    });
    expect(memory.health(minutes(62))).toEqual({ offers: [], gpuTypes: [] });
  });
});
