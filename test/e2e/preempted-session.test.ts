import { afterEach, expect, it } from 'vitest';
import { QUICK_MARKET } from '../support/simulated-market.ts';
import { endBrokers, startBroker } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { loginOf, rentRunning, untilSession } from '../support/wire-session.ts';

// How somebody who has no account anywhere gets to know preemption: on the simulated market.

/** By it the first instance is outbid some seconds after it has booted. */
const EARLY_SEED = '468';

afterEach(async ({ task }) => endBrokers({ show: task.result?.state === 'fail' }));

describePart('sshd', 'an interruptible session on the simulated market', () => {
  it('CONF-C14: runs for its bid until somebody bids more, and ends as preempted with its machine destroyed', async () => {
    const broker = await startBroker({
      env: { ...QUICK_MARKET, SIMULATED_FAULTS: 'preempt=1', SIMULATED_SEED: EARLY_SEED },
    });

    const { session, ssh_private_key: key } = await rentRunning(broker, { body: { gpu_count: 1, interruptible: true } });
    const login = await stockSsh(loginOf(session, key), 'echo in');
    const ended = await untilSession(broker, session.id, ({ status }) => status === 'stopped' || status === 'failed');

    expect(session).toMatchObject({ interruptible: true, offer_id: expect.stringMatching(/^simulated-.+-bid$/) as string });
    expect(login.stdout).toBe('in');
    expect(ended).toMatchObject({ status: 'stopped', reason: 'preempted' });
    expect(ended.destroy_accepted_at).toBeDefined();
    expect(ended.cost).toBeGreaterThan(0);
  });
});
