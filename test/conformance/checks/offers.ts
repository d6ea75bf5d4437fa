import assert from 'node:assert/strict';
import { gpuKey, normaliseGpuName } from '../../../src/provider/gpu-name.ts';
import { created, listOffers, someOffer } from '../steps.ts';
import type { ConformanceCheck } from '../world.ts';

export const offerChecks: readonly ConformanceCheck[] = [
  {
    id: 'offers-integer-prices',
    title: 'prices its offers in whole micro-dollars',
    run: async (world) => {
      const { offers } = await listOffers(world);
      assert.ok(offers.length > 0, 'there should be offers');
      for (const offer of offers) {
        assert.ok(
          Number.isSafeInteger(offer.priceMicrosPerHour) && offer.priceMicrosPerHour >= 0,
          `${offer.id} costs ${offer.priceMicrosPerHour}, which is no whole number of micro-dollars`,
        );
        assert.ok(
          Number.isFinite(offer.diskMicrosPerGbHour) && offer.diskMicrosPerGbHour >= 0,
          `${offer.id} has no rate for disk`,
        );
      }
    },
  },
  {
    id: 'offers-whole-price',
    scenario: 'CONF-C26',
    title: 'offers at the price of the whole offer an hour, which is what its instance then costs',
    run: async (world) => {
      const offer = await someOffer(world);
      // A cap that even a price by the minute lies far under, so that the two prices can be compared.
      const { instance } = await created(world, { offer, maxPriceMicrosPerHour: offer.priceMicrosPerHour * 100 });
      const rate = instance.priceMicrosPerHour;
      if (rate === undefined) return; // the provider does not tell
      const tolerance = Math.max(1_000, offer.priceMicrosPerHour * 0.05);
      assert.ok(
        Math.abs(rate - offer.priceMicrosPerHour) <= tolerance,
        `${offer.id} was offered at ${offer.priceMicrosPerHour} micro-dollars an hour and costs ${rate}`,
      );
    },
  },
  {
    id: 'offers-observed-at',
    title: 'says when it looked: at the time of the call',
    run: async (world) => {
      const before = world.clock.now();
      const { observedAt } = await listOffers(world);
      const after = world.clock.now();
      assert.ok(Number.isSafeInteger(observedAt), `observedAt is ${observedAt}, which is no instant`);
      assert.ok(
        observedAt >= before && observedAt <= after,
        `observedAt is ${observedAt}, asked between ${before} and ${after}`,
      );
    },
  },
  {
    id: 'offers-are-snapshots',
    title: 'never changes an offer that it has handed out',
    run: async (world) => {
      const { offers } = await listOffers(world);
      const then = structuredClone(offers);
      await world.advance(100);
      await created(world);
      await listOffers(world);
      assert.deepEqual(offers, then, 'an offer changed in the hands of its holder');
    },
  },
  {
    id: 'offers-names',
    title: 'gives each offer an id of its own that begins with the provider, and a GPU name that is normal',
    run: async (world) => {
      const { offers } = await listOffers(world);
      const { id } = world.provider;
      assert.equal(new Set(offers.map((offer) => offer.id)).size, offers.length, 'two offers share an id');
      for (const offer of offers) {
        assert.equal(offer.provider, id, `${offer.id} says that it is of ${offer.provider}`);
        assert.ok(offer.id.startsWith(`${id}-`), `${offer.id} does not begin with ${id}-`);
        const normal = normaliseGpuName(offer.gpuType);
        assert.equal(offer.gpuType, normal, `${offer.gpuType} should be written ${normal}`);
        assert.equal(
          gpuKey(offer.gpuType) === 'cpu',
          offer.gpuCount === 0,
          `${offer.id} has ${offer.gpuCount} of ${offer.gpuType}`,
        );
      }
    },
  },
  {
    id: 'offers-sizes',
    title: 'offers sizes that make sense: whole counts, a default disk between the least and the most',
    run: async (world) => {
      const { offers } = await listOffers(world);
      for (const offer of offers) {
        const whole = [offer.gpuCount, offer.vramMib, offer.memoryMib, offer.units];
        assert.ok(
          whole.every((size) => Number.isSafeInteger(size) && size >= 0),
          `${offer.id} has sizes that are no whole numbers: ${whole.join(', ')}`,
        );
        assert.ok(
          offer.minDiskGb <= offer.diskGb && offer.diskGb <= offer.maxDiskGb,
          `${offer.id} has a disk of ${offer.diskGb} GB, outside ${offer.minDiskGb} to ${offer.maxDiskGb}`,
        );
        const shares = [offer.reliability, offer.confidence];
        assert.ok(
          shares.every((share) => share >= 0 && share <= 1),
          `${offer.id} has shares outside 0 to 1: ${shares.join(', ')}`,
        );
      }
    },
  },
  {
    id: 'capabilities-are-data',
    title: 'declares abilities that can be reckoned with, the same every time',
    run: async (world) => {
      const { capabilities } = world.provider;
      const then = structuredClone(capabilities);
      const { absence, createTimeoutMs, offerRefreshMs } = capabilities;
      assert.ok(absence.observations >= 2, `absence is believed after ${absence.observations} observation`);
      assert.ok(absence.kinds.length > 0, 'no call counts as an observation of absence');
      assert.ok(absence.spacingMs > 0 && absence.windowMs >= absence.spacingMs, 'absence is observed over no time');
      assert.ok(createTimeoutMs > 0 && offerRefreshMs > 0, 'a time is missing');
      await someOffer(world);
      assert.deepEqual(world.provider.capabilities, then, 'the abilities changed');
    },
  },
];
