import assert from 'node:assert/strict';
import { MINUTE_MS } from '../../../src/core/duration.ts';
import type { Story, Trouble } from './story.ts';

/** Machines that are not what was sold, and doors that do not open. */
export const proveStories: readonly Story[] = [
  ...(['first route dead', 'second route dead'] as const).map((trouble): Story => ({
    id: 'C12',
    title: `is reached the other way: ${trouble}`,
    troubles: [trouble],
    async run(world) {
      world.market.trouble(trouble);
      const { session } = await world.rent();
      assert.notEqual(session.sshPort, null);
    },
  })),
  refused('C13', 'takes no key', 'ssh_verify_timeout'),
  refused('C25', 'hides its GPUs', 'gpu_mismatch', 'gpu_driver_timeout'),
  refused('C25', 'has less VRAM', 'gpu_mismatch'),
];

function refused(id: string, trouble: Trouble, ...reasons: readonly string[]): Story {
  return {
    id,
    title: `gives a machine up that ${trouble}, remembers it, and takes another`,
    troubles: [trouble],
    async run(world) {
      world.market.trouble(trouble);
      const session = await world.broker.order({
        ...world.anything,
        request: { ...world.anything.request, sshTimeoutMinutes: 5 },
      });
      const first = await world.until(
        session.id,
        'past its first machine',
        ({ attempts }) => attempts.some(({ ordinal, outcome }) => ordinal === 1 && outcome !== null),
        60 * MINUTE_MS,
      );
      world.market.trouble();
      const outcome = first.attempts[0]?.outcome ?? '';
      world.sure(reasons.includes(outcome), `it should fail for ${reasons.join(' or ')}, not ${outcome}`);
      const record = await world.until(
        session.id,
        'running or ended',
        ({ session: { status } }) => status === 'running' || status === 'failed' || status === 'stopped',
        90 * MINUTE_MS,
      );
      world.sure(record.session.status === 'running', `it should run in the end, not be ${record.session.status}`);
      // a create that got no answer says nothing of its machine, and may be asked for there again
      const had = record.attempts.filter(({ outcome }) => outcome !== 'create_lost' && outcome !== 'provider_unavailable');
      const machines = had.map(({ machineId, offerId }) => machineId ?? offerId);
      assert.deepEqual(machines, [...new Set(machines)], 'a machine that failed is not taken again');
    },
  };
}
