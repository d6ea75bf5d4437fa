import assert from 'node:assert/strict';
import type { Offer } from '../../../src/provider/offer.ts';
import { created, eventually, got, listed, listOffers, untilGone } from '../steps.ts';
import type { ConformanceCheck } from '../world.ts';

/** So far above the floor that nobody else's bid stands in the way. */
const SURE_OF_IT = 1.6;

export const interruptibleChecks: readonly ConformanceCheck[] = [
  {
    id: 'interruptible-offers',
    title: 'says which of its offers may be taken back, each with the floor of its bid, which is its price but for the disk',
    run: async (world) => {
      const { offers } = await listOffers(world);
      const interruptible = offers.filter((offer) => offer.interruptible);
      if (!world.provider.capabilities.interruptible) {
        const [odd] = interruptible;
        assert.equal(odd, undefined, `${odd?.id} may be taken back, and the provider says that it has no such offers`);
        return;
      }
      assert.ok(interruptible.length > 0, 'it says that it has interruptible offers, and shows none');
      for (const offer of interruptible) {
        const floor = offer.minBidMicrosPerHour ?? 0;
        assert.ok(Number.isSafeInteger(floor) && floor > 0, `${offer.id} takes bids, and tells no floor for them`);
        const withDisk = floor + offer.diskGb * offer.diskMicrosPerGbHour;
        assert.ok(
          Math.abs(offer.priceMicrosPerHour - withDisk) <= 1,
          `${offer.id} costs ${offer.priceMicrosPerHour}, but its floor and its disk come to ${withDisk}`,
        );
      }
    },
  },
  {
    id: 'preempted-is-paused',
    scenario: 'CONF-C14',
    title: 'shows an instance that was outbid as paused, as something that exists, until it is destroyed for good',
    run: async (world) => {
      if (!world.provider.capabilities.interruptible) return;
      const { preempt, livingWithTag } = world.controls;
      assert.ok(preempt && livingWithTag, 'the world of a provider with interruptible offers can have them outbid');
      const [offer] = (await listOffers(world)).offers.filter((each) => each.interruptible);
      assert.ok(offer, 'there should be an interruptible offer');
      const { instance, request } = await created(world, { offer, ...boldly(offer) });
      await eventually(world, {
        what: 'the instance should run',
        limitMs: world.limits.bootMs,
        probe: async () => ((await got(world, instance.id))?.state === 'running' ? true : undefined),
      });
      await world.advance(world.limits.listLagMs);

      await preempt(instance.id);

      const read = await got(world, instance.id);
      const row = (await listed(world)).find(({ id }) => id === instance.id);
      assert.deepEqual([read?.state, row?.state], ['paused', 'paused'], 'get and list should both show it as paused');
      await untilGone(world, instance.id);
      await world.advance(world.limits.answerMs / 5);
      assert.deepEqual(await livingWithTag(request.tag), [], 'it came back after it was destroyed');
    },
  },
];

function boldly({ minBidMicrosPerHour: floor = 0, priceMicrosPerHour }: Offer) {
  const bidMicrosPerHour = Math.ceil(floor * SURE_OF_IT);
  return { bidMicrosPerHour, maxPriceMicrosPerHour: priceMicrosPerHour + bidMicrosPerHour };
}
