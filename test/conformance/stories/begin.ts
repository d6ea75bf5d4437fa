import assert from 'node:assert/strict';
import { MINUTE_MS } from '../../../src/core/duration.ts';
import type { Story, StoryWorld } from './story.ts';

/** How sessions come about, or do not. */
export const beginStories: readonly Story[] = [
  {
    id: 'C1',
    title: 'runs once SSH is proven, for as long as it is wanted',
    async run(world) {
      const { session } = await world.rent();
      assert.ok(session.sshHost !== null || session.sshHostKey !== null, 'a running session says how to log in');
      await world.pass(20 * MINUTE_MS);
    },
  },
  {
    id: 'C2',
    title: 'tries three other offers when three are gone, none twice',
    needs: ['fault'],
    async run(world) {
      world.market.controls.fault?.('CreateInstance', 'capacity', 3);
      const { attempts } = await world.rent();
      const offers = attempts.map(({ offerId }) => offerId);
      world.sure(attempts.length === 4, `there should be four attempts, not ${attempts.length}`);
      assert.deepEqual(offers, [...new Set(offers)]);
    },
  },
  {
    id: 'C3',
    title: 'adopts what a create made whose answer is lost',
    needs: ['fault'],
    async run(world) {
      world.market.controls.fault?.('CreateInstance', 'lost answer', 1);
      const { attempts } = await world.rent();
      world.sure(attempts.length === 1, `there should be one attempt, not ${attempts.length}`);
      assert.equal(world.living().length, 1);
      await world.pass(10 * MINUTE_MS);
    },
  },
  {
    id: 'C3',
    title: 'adopts what a create made that nobody ever answers',
    needs: ['fault'],
    async run(world) {
      world.market.controls.fault?.('CreateInstance', 'no answer', 1);
      await world.rent();
      assert.equal(world.living().length, 1);
    },
  },
  {
    id: 'C4',
    title: 'begins again under another tag when nothing was made',
    needs: ['fault'],
    async run(world) {
      world.market.controls.fault?.('CreateInstance', 'unavailable', 1);
      const { attempts } = await world.rent();
      const tags = attempts.map(({ tag }) => tag);
      world.sure(tags.length === 2, `there should be two attempts, not ${tags.length}`);
      assert.deepEqual(tags, [...new Set(tags)]);
    },
  },
  ...(['told', 'untold'] as const).map((how): Story => ({
    id: 'C5',
    title: `leaves nothing of a create that was refused and carried out, its id ${how}`,
    needs: ['makeInSpite'],
    async run(world) {
      world.market.makeInSpite?.(how);
      await world.rent();
      world.sure(world.living().length === 1, 'the stray should be gone once the session runs');
    },
  })),
  {
    id: 'C10',
    title: 'gives up a machine that boots for ever, at its deadline, and both are paid for',
    troubles: ['boots never'],
    async run(world) {
      world.market.trouble('boots never');
      const session = await world.broker.order({
        ...world.anything,
        request: { ...world.anything.request, sshTimeoutMinutes: 5 },
      });
      const first = await world.until(
        session.id,
        'past its first machine',
        ({ attempts }) => isPastFirst(attempts),
        60 * MINUTE_MS,
      );
      world.market.trouble();
      world.sure(first.attempts[0]?.outcome === 'ssh_verify_timeout', `not ${first.attempts[0]?.outcome}`);
      await until(world, session.id);
    },
  },
  {
    id: 'C11',
    title: 'does not wait for the deadline of a machine that says that it cannot boot',
    troubles: ['boots and fails'],
    async run(world) {
      world.market.trouble('boots and fails');
      const session = await world.broker.order(world.anything);
      const begunAt = world.clock.now();
      const first = await world.until(
        session.id,
        'past its first machine',
        ({ attempts }) => isPastFirst(attempts),
        60 * MINUTE_MS,
      );
      world.market.trouble();
      // at a look, or where the vendor waits for the boot by its answer to the create
      const outcome = first.attempts[0]?.outcome ?? '';
      world.sure(['instance_stopped', 'stale_inventory'].includes(outcome), `not ${outcome}`);
      world.sure(world.clock.now() - begunAt < 8 * MINUTE_MS, 'it should fail before its deadline of ten minutes');
      await until(world, session.id);
    },
  },
  {
    id: 'C17',
    title: 'leaves nothing when it is ended while it is being made',
    async run(world) {
      const session = await world.broker.order(world.anything);
      const isBegun = world.broker.run({ until: () => world.ours().length > 0, withinMs: 30 * MINUTE_MS });
      await isBegun.catch((error: unknown) => world.sure(false, String(error)));
      await world.broker.stop(session.id);
      await world.untilEnded(session.id);
    },
  },
  {
    id: 'C18',
    title: 'takes up what a process that died left between its intent and the answer',
    needs: ['fault'],
    async run(world) {
      world.market.controls.fault?.('CreateInstance', 'no answer', 1);
      const session = await world.broker.order(world.anything);
      const isMade = world.broker.run({ until: () => world.ours().length > 0, withinMs: 30 * MINUTE_MS });
      await isMade.catch((error: unknown) => world.sure(false, String(error)));
      await world.broker.crash();
      const record = await until(world, session.id);
      world.sure(record.attempts.length === 1, `there should be one attempt, not ${record.attempts.length}`);
    },
  },
  {
    id: 'C20',
    title: 'does not go from offer to offer with an empty account',
    needs: ['emptyAccount'],
    async run(world) {
      world.market.emptyAccount?.();
      const session = await world.broker.order({ ...world.anything, request: { ...world.anything.request, autoRetry: false } });
      const record = await world.until(session.id, 'ended', ({ session: { status } }) => status === 'failed', 60 * MINUTE_MS);
      world.sure(record.session.reason === 'provider_funds', `not ${record.session.reason}`);
      const refused = record.attempts.filter(({ outcome }) => outcome === 'provider_funds');
      assert.ok(refused.length <= 1, 'one create is enough to know');
    },
  },
  {
    id: 'C21',
    title: 'takes an answer to its create for what it means, whatever its status says',
    needs: ['oddAnswers'],
    async run(world) {
      for (const { title, makes, means, give } of world.market.oddAnswers ?? []) {
        give();
        const { session, attempts } = await world.rent();
        const first = attempts[0]?.outcome ?? 'adopted';
        world.sure(first === means, `after ${title} the first attempt should be ${means}, not ${first}`);
        world.sure((attempts.length === 1) === makes, `${attempts.length} attempts after ${title}`);
        assert.equal(new Set(attempts.map(({ tag }) => tag)).size, attempts.length);
        await world.broker.stop(session.id);
        await world.untilEnded(session.id);
        assert.deepEqual(world.living(), [], `what ${title} left lives on`);
      }
    },
  },
  {
    id: 'C22',
    title: 'is reached by an address of its own, or gives a machine up whose port never comes, and takes another',
    troubles: ['opens no port'],
    async run(world) {
      world.market.trouble('opens no port');
      const { id } = await world.broker.order(world.anything);
      const begunAt = world.clock.now();
      const first = await world.until(
        id,
        'running, or past its first machine',
        ({ session: { status }, attempts }) => status === 'running' || isPastFirst(attempts),
        60 * MINUTE_MS,
      );
      world.market.trouble();
      const outcome = first.attempts[0]?.outcome ?? null;
      world.sure(outcome === null || outcome === 'instance_stopped', `not ${outcome}`);
      world.sure(world.clock.now() - begunAt < 8 * MINUTE_MS, 'it should be known before the deadline of ten minutes');
      await until(world, id);
    },
  },
  {
    id: 'C26',
    title: 'destroys at once what turns out dearer than was agreed',
    troubles: ['doubles its price'],
    async run(world) {
      world.market.trouble('doubles its price');
      const session = await world.broker.order({ ...world.anything, maxAttempts: 1 });
      const record = await world.until(session.id, 'ended', ({ session: { status } }) => status === 'failed', 60 * MINUTE_MS);
      world.sure(record.session.reason === 'price_changed', `not ${record.session.reason}`);
    },
  },
];

function isPastFirst(attempts: readonly { readonly ordinal: number; readonly outcome: string | null }[]): boolean {
  return attempts.some(({ ordinal, outcome }) => ordinal === 1 && outcome !== null);
}

async function until(world: StoryWorld, id: Parameters<StoryWorld['until']>[0]) {
  const record = await world.until(
    id,
    'running or ended',
    ({ session: { status } }) => status === 'running' || status === 'failed' || status === 'stopped',
    90 * MINUTE_MS,
  );
  world.sure(
    record.session.status === 'running',
    `it should run in the end, but is ${record.session.status} (${record.session.reason})`,
  );
  return record;
}
