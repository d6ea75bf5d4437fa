import { expect } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../../../src/core/duration.ts';
import { anOffer } from '../../support/in-memory-account.ts';
import type { Story } from '../story.ts';

export const lives: readonly Story[] = [
  {
    name: 'a session that expires',
    settings: { checkIntervalMs: 10 * SECOND_MS },
    brings: ['session.running', 'session.stopping', 'session.stopped'],
    async play(stage) {
      const id = await stage.order({ reservationMinutes: 1 });
      await stage.untilSettled(id, { status: 'stopped', reason: 'expired' });
    },
  },
  {
    name: 'a session that is extended, and expires then',
    settings: { checkIntervalMs: 10 * SECOND_MS },
    brings: ['session.running', 'session.extended', 'session.stopped'],
    async play(stage) {
      const id = await stage.order({ reservationMinutes: 1 });
      await stage.untilRunning(id);
      await stage.extend(id, 0.5);
      await stage.untilSettled(id, { status: 'stopped', reason: 'expired' });
      const { stoppedAt, createdAt } = await stage.session(id);
      expect((stoppedAt ?? 0) - createdAt).toBeGreaterThanOrEqual(1.5 * MINUTE_MS);
    },
  },
  {
    name: 'a session that nobody uses',
    settings: { sampleIntervalMs: 15 * SECOND_MS },
    brings: ['session.running', 'session.idle_warned', 'session.stopped'],
    async play(stage) {
      stage.ssh.use({ gpuPercent: 0, cpuPercent: 0, sshConnections: 0 });
      const id = await stage.order({ idleThresholdMinutes: 1 });
      await stage.untilSettled(id, { status: 'stopped', reason: 'idle' });
    },
  },
  {
    name: 'a session that is watched for idleness and used',
    settings: { sampleIntervalMs: 5 * SECOND_MS },
    brings: ['session.running'],
    async play(stage) {
      stage.ssh.use({ gpuPercent: 90, cpuPercent: 50, sshConnections: 1 });
      const id = await stage.order({ idleThresholdMinutes: 1 });
      await stage.untilRunning(id);
      await stage.wait(12 * SECOND_MS);
      expect((await stage.session(id)).status).toBe('running');
    },
  },
  {
    name: 'a broker that is shut down while a session runs and another one boots, and started again',
    market: { offers: [anOffer({ units: 5 })], settings: { bootMs: 4 * SECOND_MS } },
    brings: ['session.running', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilRunning(id);
      const other = await stage.order({ consumerId: 'bob' });
      await stage.untilTold(other, 'instance.created');
      await stage.restart();
      await stage.untilRunning(other);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped' });
    },
  },
  {
    name: 'a broker that is shut down in the middle of a create, and started again',
    market: { settings: { createMs: 2 * SECOND_MS } },
    unseenMs: 2_100,
    brings: ['session.running'],
    async play(stage) {
      const id = await stage.order();
      await stage.until('the create was sent', () => stage.account.calls('CreateInstance') > 0);
      await stage.restart();
      await stage.untilRunning(id);
    },
  },
  {
    name: 'a session that never had a machine, past its retention',
    settings: { sessionRetentionMs: 5 * SECOND_MS },
    brings: [],
    async play(stage) {
      const id = await stage.order();
      await stage.stop(id);
      await stage.until('it has ended', async () => {
        const found = await stage.world.replica.sessions.find(id);
        return found === undefined || found.session.settledCostMicros !== null;
      });
      const attempts = (await stage.world.replica.sessions.find(id))?.attempts ?? [];
      if (attempts.length > 0) return stage.untilSettled(id); // it was too late: its tombstones are watched for 90 days
      stage.forget(id);
      await stage.until('it is purged', async () => (await stage.world.replica.sessions.find(id)) === undefined);
    },
  },
  {
    name: 'an offer that grows dearer between two attempts, and is not taken for more than was agreed',
    market: { capabilities: { offerRefreshMs: 2 * SECOND_MS } },
    brings: ['attempt.absent', 'session.failed'],
    async play(stage) {
      stage.account.failNext('CreateInstance', { do: 'fail', kind: 'ambiguous' });
      const id = await stage.order();
      await stage.until('the create was sent', () => stage.account.calls('CreateInstance') > 0);
      stage.account.failAlways('ListAllInstances', { do: 'fail', kind: 'unavailable' });
      await stage.untilTold(id, 'attempt.unknown');
      for (const offer of stage.account.offers) stage.account.changeOffer(offer, { priceMicrosPerHour: 900_000 });
      await stage.wait(3 * SECOND_MS);
      stage.account.heal();
      await stage.untilSettled(id, { status: 'failed' });
    },
  },
];
