import assert from 'node:assert/strict';
import { MINUTE_MS, SECOND_MS } from '../../../src/core/duration.ts';
import type { InstanceId } from '../../../src/provider/ids.ts';
import type { SessionRecord } from '../../../src/sessions/session-record.ts';
import type { WorldOrder } from '../../support/world.ts';
import type { Story, StoryWorld } from './story.ts';

/** From the look that is due to the end at the market, whose calls have to wait their turn. */
const SEEN_AND_GONE_MS = 90 * SECOND_MS;
const MUCH_LATER_MS = 3 * 60 * MINUTE_MS;
/** So long that a look that comes some seconds late is no matter of a hundredth of the bill. */
const LONG_MS = 70 * MINUTE_MS;

/** What happens to sessions on offers that go to whoever bids more. After each the books are compared, as after every story. */
export const bidStories: readonly Story[] = [
  {
    id: 'C14',
    title: 'on an interruptible offer ends as preempted when somebody bids more, and costs what its market says',
    needs: ['preempt'],
    applies: ({ capabilities }) => capabilities.interruptible,
    async run(world) {
      const record = await world.rent(forABid);
      assert.ok(record.session.offer.interruptible, 'it is on an interruptible offer');
      await world.pass(LONG_MS);
      await world.byHand(() => world.market.controls.preempt?.(idOf(world, record)));
      await endsAsPreempted(world, record);
    },
  },
  {
    id: 'C14',
    title: 'on an interruptible offer that is outbid while it loads ends as preempted, and its contract is destroyed',
    needs: ['preempt'],
    troubles: ['boots never'],
    applies: ({ capabilities }) => capabilities.interruptible,
    async run(world) {
      world.market.trouble('boots never');
      const { id } = await world.broker.order({ ...forABid, request: { ...forABid.request, autoRetry: false } });
      const record = await world.until(
        id,
        'booting',
        ({ session }) => session.phase === 'booting' || session.desired === 'gone',
      );
      const { status, reason } = record.session;
      world.sure(record.session.phase === 'booting', `it should boot, not be ${status} (${reason})`);
      await world.byHand(() => world.market.controls.preempt?.(idOf(world, record)));
      await endsAsPreempted(world, record);
    },
  },
];

const forABid: WorldOrder & { readonly request: object } = {
  byRequirements: true,
  keysOfTheBroker: true,
  maxAttempts: 8,
  reservationMinutes: 600,
  request: { interruptible: true, autoRetry: true, gpuCount: 1 },
};

function idOf(world: StoryWorld, record: SessionRecord): InstanceId {
  const { instanceId } = world.attemptOf(record);
  assert.ok(instanceId, 'what was made has an id');
  return instanceId;
}

async function endsAsPreempted(world: StoryWorld, { session: { id } }: SessionRecord): Promise<void> {
  const withinMs = world.mood === 'calm' ? SEEN_AND_GONE_MS : MUCH_LATER_MS;
  const { session } = await world.until(id, 'ended', ({ session: { stoppedAt } }) => stoppedAt !== null, withinMs);
  world.sure(session.reason === 'preempted', `it should end as preempted, not for ${session.reason}: ${session.error}`);
  const kinds = await world.broker.eventKinds(id);
  for (const kind of ['instance.preempted', 'session.stopping']) assert.ok(kinds.includes(kind), `no event ${kind}`);
  assert.deepEqual(world.living(), [], 'what was taken back lives on, and may resume');
}
