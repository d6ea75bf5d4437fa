import { expect, it } from 'vitest';
import { describeWorld } from '../../test/support/world.ts';
import { DAY_MS, MINUTE_MS } from '../core/duration.ts';
import { countedId } from '../../test/support/counted-ids.ts';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';

describeWorld('retention', (make) => {
  it('shreds a private key that the broker made fifteen minutes after, and not before', async () => {
    const world = await make();
    const { keySecretId } = await world.order({ keysOfTheBroker: true });
    const secret = () => world.replica.sessions.findSecret(keySecretId ?? countedId('sec', 0));

    await world.clock.advance(15 * MINUTE_MS - 1);
    await world.pass('session.retention');
    expect(await secret()).toBeDefined();
    await world.clock.advance(1);
    const report = await world.pass('session.retention');

    expect(await secret()).toBeUndefined();
    expect(report.details).toMatchObject({ shredded: 1 });
  });

  it('deletes a settled session with all its rows when its time and its tombstones are over', async () => {
    const world = await make();
    const { id } = await world.order({ sshPublicKey: generateSshKeyPair().publicKey });
    await world.runUntil(id, 'running');
    await world.stop(id);
    await world.run({
      until: async () => {
        const { session } = await world.record(id);
        return session.phase === 'settled' && session.settledCostMicros !== null;
      },
      withinMs: 3 * MINUTE_MS,
    });
    await world.shutDown();
    await world.clock.advance(89 * DAY_MS);
    await world.crash();
    await world.pass('session.retention');
    expect(await world.replica.sessions.find(id)).toBeDefined();

    await world.clock.advance(2 * DAY_MS);
    await world.pass('session.retention');

    expect(await world.replica.sessions.find(id)).toBeUndefined();
    expect(await world.events(id)).toEqual([]);
  });

  it('RULE-R9: a tombstone keeps its rows, however short the retention', async () => {
    const world = await make({ settings: { sessionRetentionMs: DAY_MS } });
    const { id } = await world.order();
    await world.runUntil(id, 'running');
    await world.stop(id);
    await world.run({ withinMs: 3 * MINUTE_MS });
    await world.shutDown();
    await world.clock.advance(60 * DAY_MS);
    await world.crash();

    await world.pass('session.retention');

    expect(await world.replica.sessions.find(id)).toBeDefined();
  });

  it('REL-D9: a session that cannot be deleted keeps no other from it', async () => {
    const world = await make();
    const { sessions } = world.replica;
    const purged: string[] = [];
    Object.assign(sessions, {
      findRetired: async () => [countedId('ses', 1), countedId('ses', 2)],
      purge: async (id: string) => {
        if (id === countedId('ses', 1)) throw new Error('no');
        purged.push(id);
      },
    });

    const report = await world.pass('session.retention');

    expect(purged).toEqual([countedId('ses', 2)]);
    expect(report).toMatchObject({ changed: 1, failed: 1 });
  });
});
