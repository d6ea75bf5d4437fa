import { expect } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../../../src/core/duration.ts';
import { offerId, type InstanceId } from '../../../src/provider/ids.ts';
import type { ProofRequest } from '../../../src/ssh/proof.ts';
import { anOffer } from '../../support/in-memory-account.ts';
import { gpuMismatch, notYet, proves, silence, wrongHost, type Scene } from '../../support/scripted-ssh.ts';
import type { Stage } from '../stage.ts';
import type { MarketWish } from '../staging.ts';
import type { Story } from '../story.ts';

const offers = ['ask-1', 'ask-2', 'ask-3'].map((providerOfferId) => anOffer({ providerOfferId }));
const REPLACED = { request: { autoRetry: true } };
const BIDS: MarketWish = {
  capabilities: { interruptible: true },
  offers: ['ask-1', 'ask-2'].map((providerOfferId) =>
    anOffer({ providerOfferId, interruptible: true, minBidMicrosPerHour: 100_000, priceMicrosPerHour: 107_000 }),
  ),
};

/** The machine that was made first is met with one scene, all others with another. */
function firstMeets(stage: Stage, scene: Scene, others: Scene = proves): void {
  const isFirst = ({ access: { routes } }: ProofRequest) => routes !== 'dial' && routes.some(({ port }) => port === 20_001);
  stage.ssh.script((request, options) => (isFirst(request) ? scene : others)(request, options));
}

async function firstMachine(stage: Stage): Promise<InstanceId> {
  await stage.until('a machine was made', () => stage.account.all().length > 0);
  const [machine] = stage.account.all();
  if (!machine) throw new Error('a machine was made');
  return machine.id;
}

export const machines: readonly Story[] = [
  {
    name: 'a boot that never ends, and another machine in its place',
    market: { offers },
    settings: { bootTimeoutMs: 3 * SECOND_MS },
    brings: ['attempt.failed', 'session.retrying', 'session.running'],
    async play(stage) {
      const id = await stage.order(REPLACED);
      stage.account.setWord(await firstMachine(stage), 'loading');
      await stage.untilRunning(id);
      await stage.until('the first is verified as gone', async () =>
        (await stage.attempts(id)).every(({ state }) => state === 'live' || state === 'gone'),
      );
    },
  },
  {
    name: 'a boot that never ends, and nobody wished for another machine',
    market: { settings: { bootMs: Number.POSITIVE_INFINITY } },
    settings: { bootTimeoutMs: 3 * SECOND_MS },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'ssh_verify_timeout' });
    },
  },
  {
    name: 'a machine that boots and is never let in to',
    settings: { bootTimeoutMs: 3 * SECOND_MS },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      stage.ssh.script(notYet('auth_failed'));
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'ssh_verify_timeout' });
    },
  },
  {
    name: 'a machine whose SSH takes some time',
    brings: ['session.running'],
    async play(stage) {
      const opensMs = stage.world.clock.monotonicMs() + 2 * SECOND_MS;
      stage.ssh.script((request, options) => (stage.world.clock.monotonicMs() < opensMs ? notYet() : proves)(request, options));
      await stage.untilRunning(await stage.order());
    },
  },
  {
    name: 'a driver that comes late',
    brings: ['session.running'],
    async play(stage) {
      const opensMs = stage.world.clock.monotonicMs() + 2 * SECOND_MS;
      stage.ssh.script((request, options) =>
        (stage.world.clock.monotonicMs() < opensMs ? notYet('gpu_not_ready') : proves)(request, options),
      );
      await stage.untilRunning(await stage.order());
    },
  },
  {
    name: 'a driver that never comes',
    settings: { driverTimeoutMs: 2 * SECOND_MS },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      stage.ssh.script(notYet('gpu_not_ready'));
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'gpu_driver_timeout' });
    },
  },
  {
    name: 'a machine without the GPU that was sold, and another one in its place',
    market: { offers },
    brings: ['attempt.failed', 'session.running'],
    async play(stage) {
      firstMeets(stage, gpuMismatch);
      const id = await stage.order(REPLACED);
      await stage.untilRunning(id);
      await stage.until('the first is verified as gone', async () =>
        (await stage.attempts(id)).every(({ state }) => state === 'live' || state === 'gone'),
      );
    },
  },
  {
    name: 'a machine without the GPU that was sold, and no wish for another',
    market: { offers },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      firstMeets(stage, gpuMismatch);
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'gpu_mismatch' });
    },
  },
  {
    name: 'another host at the address of the machine',
    market: { offers },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      stage.ssh.script(wrongHost);
      const id = await stage.order();
      await stage.untilSettled(id, { status: 'failed', reason: 'wrong_host' });
    },
  },
  {
    name: 'a peer that takes the connection and stays silent',
    settings: { bootTimeoutMs: 3 * SECOND_MS },
    brings: ['session.stopped'],
    async play(stage) {
      stage.ssh.script(silence);
      const id = await stage.order();
      await stage.until('it is knocked at', () => stage.ssh.knocks.length > 0);
      await stage.stop(id);
      await stage.untilSettled(id);
    },
  },
  {
    name: 'a machine that breaks while it boots',
    market: { settings: { bootMs: MINUTE_MS } },
    brings: ['attempt.failed', 'session.failed'],
    async play(stage) {
      const id = await stage.order();
      const machine = await firstMachine(stage);
      await stage.untilTold(id, 'instance.created');
      stage.account.break(machine, 'the image is not there');
      await stage.untilSettled(id, { status: 'failed' });
    },
  },
  {
    name: 'a machine that turns out to cost more than was agreed',
    market: { settings: { bootMs: MINUTE_MS } },
    brings: ['attempt.failed', 'session.failed'],
    unseenMs: 6 * SECOND_MS, // the market's books have the new price from the beginning
    async play(stage) {
      const id = await stage.order();
      const machine = await firstMachine(stage);
      await stage.untilTold(id, 'instance.created');
      stage.account.instance(machine).priceMicrosPerHour = 1_000_000;
      await stage.untilSettled(id, { status: 'failed', reason: 'price_changed' });
    },
  },
  {
    name: 'an interruptible machine that is outbid while it runs',
    market: BIDS,
    brings: ['session.running', 'instance.preempted', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      stage.account.setWord(await stage.untilRunning(id), 'parked');
      await stage.untilSettled(id, { status: 'stopped', reason: 'preempted' });
    },
  },
  {
    name: 'an interruptible machine that is outbid while it boots, and another one in its place',
    market: { ...BIDS, settings: { bootMs: 3 * SECOND_MS } },
    brings: ['instance.preempted', 'session.retrying', 'session.running'],
    async play(stage) {
      const id = await stage.order({ request: { autoRetry: true, interruptible: true } });
      const machine = await firstMachine(stage);
      await stage.untilTold(id, 'instance.created');
      stage.account.setWord(machine, 'parked');
      await stage.untilRunning(id);
      await stage.until('the first is verified as gone', async () =>
        (await stage.attempts(id)).every(({ state }) => state === 'live' || state === 'gone'),
      );
    },
  },
  {
    name: 'an interruptible machine that resumes while its destroy fails',
    market: BIDS,
    brings: ['instance.preempted', 'instance.destroy_failed', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      const machine = await stage.untilRunning(id);
      stage.account.failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
      stage.account.setWord(machine, 'parked');
      await stage.untilTold(id, 'instance.destroy_failed');
      stage.account.setWord(machine, undefined);
      stage.account.heal();
      await stage.untilSettled(id, { status: 'stopped', reason: 'preempted' });
    },
  },
  {
    name: 'a machine that only its provider can dial, and a port of the broker for it',
    market: { dials: true },
    brings: ['session.tunnel_opened', 'session.running', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilRunning(id);
      const { sshHost, sshPort } = await stage.session(id);
      expect(sshHost).toBe('broker.example');
      await stage.until('the port is open', () => stage.world.replica.tunnels.routes().some(({ port }) => port === sshPort));
      expect((await stage.session(id)).sshPort, 'the same port after a start').toBe(sshPort);
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped' });
      await stage.until('the port is closed', () => stage.world.replica.tunnels.routes().length === 0);
    },
  },
  {
    name: 'two machines to dial, and one port for them',
    market: { dials: true, offers },
    settings: { tunnelPorts: { first: 22_000, last: 22_000 } },
    brings: ['session.tunnel_opened', 'session.tunnel_awaited', 'session.stopped'],
    async play(stage) {
      const id = await stage.order();
      await stage.untilRunning(id);
      const other = await stage.order({ request: { offerId: offerId('memory-ask-2') } });
      await stage.untilTold(other, 'session.tunnel_awaited');
      await stage.stop(id);
      await stage.untilSettled(id, { status: 'stopped' });
      await stage.untilRunning(other);
    },
  },
];
