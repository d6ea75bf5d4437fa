import { expect, it } from 'vitest';
import { aTag } from '../../test/support/provider-calls.ts';
import { describeWorld, type World, type WorldClock } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { offerId } from '../provider/ids.ts';

const STEP_MS = 5 * MINUTE_MS;
const QUARTER_MS = 15 * MINUTE_MS;
const ALARM = 'the account spends more than all known instances cost: something may be leaking';

/** Passes of the controller alone, as far apart as the product has them; what the last one says. */
async function watch(world: World, ms = 2 * QUARTER_MS): Promise<number | string | undefined> {
  let details;
  for (let left = ms; left > 0; left -= STEP_MS) {
    await world.clock.advance(STEP_MS);
    ({ details } = await world.pass('account.spend'));
  }
  return details?.['memory'];
}

/** An instance that is there and billed. */
async function rent(world: World, offer = 'memory-ask-1') {
  const { id } = await world.order({ reservationMinutes: 600, request: { offerId: offerId(offer) } });
  await world.pass('session.provisioning');
  const { state, instanceId } = await world.attempt(id);
  if (state !== 'live' || instanceId === null) throw new Error('there is no instance');
  return { id, instanceId };
}

async function end(world: World, { id }: Awaited<ReturnType<typeof rent>>) {
  await world.stop(id);
  await world.pass('session.termination');
  expect((await world.record(id)).session.status).toBe('stopped');
}

const spend = (world: World) => world.replica.accountSpend.spend();
const alarms = (world: World) => world.log.entries.filter(({ message }) => message === ALARM);

describeWorld('account spend', (make) => {
  it('RULE-R13: is content while the account spends what its instances cost, and tells both', async () => {
    const world = await make();
    await rent(world);
    await rent(world, 'memory-ask-2');

    expect(await watch(world)).toBe('matches');

    const microsPerHour = 340_000 + 4_980_000;
    expect(spend(world)).toEqual([
      { provider: 'memory', state: 'matches', microsPerHour: { expected: microsPerHour, observed: microsPerHour } },
    ]);
    expect(alarms(world)).toEqual([]);
  });

  it('cannot tell before it has watched for a quarter of an hour', async () => {
    const world = await make();

    expect(await watch(world, QUARTER_MS)).toBe('cannot_tell: too_short');
    expect(spend(world)).toEqual([{ provider: 'memory', state: 'cannot_tell' }]);

    expect(await watch(world, STEP_MS)).toBe('matches');
    expect(spend(world)).toMatchObject([{ microsPerHour: { expected: 0, observed: 0 } }]);
  });

  it('REL-B16: an instance that outlived its destroy without a trace is missed in the money, and an hour later again', async () => {
    const world = await make();
    const lied = await rent(world);
    world.account().failAlways('DestroyInstance', { do: 'claim-gone' });
    world.account().failAlways('GetInstanceStatus', { do: 'omit', ids: [lied.instanceId] });
    world.account().failAlways('ListAllInstances', { do: 'omit', ids: [lied.instanceId] });
    await end(world, lied);

    expect(await watch(world)).toBe('possible_leak');

    expect(world.account().living()).toHaveLength(1);
    expect(alarms(world)).toMatchObject([
      { level: 'error', fields: { provider: 'memory', expectedUsdPerHour: 0, observedUsdPerHour: 0.34, minutes: 15 } },
    ]);
    await watch(world, HOUR_MS);
    expect(alarms(world)).toHaveLength(2);
  });

  it('REL-B16: an orphan is missed in the money before it is old enough to be destroyed, and the alarm ends with it', async () => {
    const world = await make({ settings: { orphanGraceMs: 40 * MINUTE_MS } });
    world.account().plant({ tag: aTag(99) });
    await world.pass('instance.orphans');

    expect(await watch(world)).toBe('possible_leak');
    await world.clock.advance(10 * MINUTE_MS);
    await world.pass('instance.orphans');
    expect(world.account().living()).toEqual([]);

    expect(await watch(world)).toBe('matches');
  });

  it('REL-B16: never blames a leak for what somebody else’s instances spend, nor soon after they are gone', async () => {
    const world = await make({ deployment: 'prod' });
    const beside = await make({ deployment: 'prod1', shares: world });
    await rent(world);
    const theirs = await rent(beside, 'memory-ask-2');
    expect(await watch(world)).toBe('cannot_tell: foreign');

    await end(beside, theirs);

    expect(await watch(world, QUARTER_MS)).toBe('cannot_tell: foreign');
    expect(await watch(world, STEP_MS)).toBe('matches');
    expect(alarms(world)).toEqual([]);
  });

  it('REL-B16: never blames a leak for what somebody else spent between two looks', async () => {
    const world = await make();
    await watch(world);
    const theirs = world.account().plant();
    await world.clock.advance(4 * MINUTE_MS);
    world.account().destroy(theirs);
    world.account().paidInMicros -= 5_000_000; // it was a dear one

    const said = [];
    for (let step = 0; step < 4; step += 1) said.push(await watch(world, STEP_MS));

    expect(said).toEqual(['cannot_tell: uneven', 'cannot_tell: uneven', 'cannot_tell: uneven', 'matches']);
    expect(alarms(world)).toEqual([]);
  });

  it('REL-B11: an instance of ours that lost its tag is not somebody else’s', async () => {
    const world = await make();
    const { instanceId } = await rent(world);
    world.account().loseTag(instanceId);

    expect(await watch(world)).toBe('matches');
  });

  it('cannot tell for a quarter of an hour after money was paid in', async () => {
    const world = await make();
    await rent(world);
    expect(await watch(world)).toBe('matches');
    world.account().paidInMicros += 20_000_000;

    expect(await watch(world, QUARTER_MS)).toBe('cannot_tell: top_up');
    expect(await watch(world, STEP_MS)).toBe('matches');
  });

  it('cannot tell while the balance cannot be read, or no list can be believed, and says which', async () => {
    const world = await make();
    const { instanceId } = await rent(world);
    await watch(world);

    world.account().failNext('GetBalance', { do: 'fail', kind: 'unavailable' });
    expect(await watch(world, STEP_MS)).toBe('cannot_tell: unread');
    expect(await watch(world, STEP_MS)).toBe('matches');
    world.account().failNext('ListAllInstances', { do: 'fail', kind: 'unavailable' });
    expect(await watch(world, STEP_MS)).toBe('cannot_tell: unseen');
    expect(await watch(world)).toBe('matches');
    world.account().failNext('ListAllInstances', { do: 'omit', ids: [instanceId] });
    expect(await watch(world, STEP_MS)).toBe('cannot_tell: unseen');

    expect(world.log.messages('warn')).toContain('the spend of the account could not be read');
  });

  it('REL-A3: allows for a create that got no answer, until it is known what became of it', async () => {
    const world = await make();
    await watch(world);
    world.account().failNext('CreateInstance', { do: 'lose-answer' });
    world.account().settings.listLagMs = HOUR_MS; // it is made, and no list shows it yet
    const { id } = await world.order({ request: { offerId: offerId('memory-ask-2') } });
    await world.pass('session.provisioning');
    expect((await world.attempt(id)).state).toBe('unknown');

    expect(await watch(world)).toBe('matches');
    expect(spend(world)).toMatchObject([{ microsPerHour: { expected: 0, observed: 4_980_000 } }]);
  });

  it.each([
    ['back, so that bills begin in the future', -2 * HOUR_MS, 'cannot_tell: misdated'],
    ['forward', 2 * HOUR_MS, 'matches'],
  ])('REL-F1: is not misled by a wall clock that jumps %s', async (_where, jumpMs, said) => {
    const world = await make({ settings: { clockSettleMs: 10 * SECOND_MS } });
    await rent(world);
    await watch(world);
    world.clock.jumpWall(jumpMs);
    for (let ticks = 0; ticks < 30; ticks += 1) {
      await world.clock.advance(SECOND_MS);
      await world.pass('clock.steadiness');
    }

    expect(await watch(world, STEP_MS)).toBe('cannot_tell: too_short');
    expect(await watch(world)).toBe(said);
    expect(alarms(world)).toEqual([]);
  });

  it('leaves out providers that do not tell a balance', async () => {
    const world = await make();
    const [market] = world.markets.values();
    if (!market) throw new Error('there is a market');
    const { balance: _, ...silent } = market.provider;
    const clock = world.clock as WorldClock; // every world made its clock
    const other = await make({ outside: { clock, providers: [silent] } });

    expect(await other.pass('account.spend')).toMatchObject({ examined: 0, failed: 0 });
    expect(spend(other)).toEqual([]);
  });
});
