import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.ts';
import { generateSshKeyPair } from '../core/openssh-key-pair.ts';
import { restrictedLine } from '../provider/key-hand-off.ts';
import { withSshServer, type TestSshServer } from '../../test/support/ssh-server.ts';
import { createSampler, type SampleRequest } from './sampler.ts';

const sampler = createSampler({ clock: systemClock });
const probe = generateSshKeyPair();
const restricted = restrictedLine(probe.publicKey, 'berth-test-00000000000000000000000000-1');
const signal = new AbortController().signal;

const aRequest = ({ port, hostKey }: TestSshServer, changes: Partial<SampleRequest> = {}): SampleRequest => ({
  access: { user: 'root', routes: [{ host: '127.0.0.1', port }] },
  privateAddresses: true,
  probe,
  pinnedHostKey: hostKey.publicKey,
  budgetMs: 3_000,
  ...changes,
});

describe('sample', () => {
  it('reads what the restricted key prints', async () => {
    await withSshServer({ authorizedKeys: [restricted] }, async (server) => {
      expect(await sampler.sample(aRequest(server), { signal })).toEqual({
        kind: 'sample',
        sample: { cpuPercent: 3, sshConnections: 0 },
      });
      await expect.poll(() => server.connections.size).toBe(0);
    });
  });

  it('is no sample when the consumer removed our line', async () => {
    await withSshServer({ authorizedKeys: [] }, async (server) => {
      expect(await sampler.sample(aRequest(server), { signal })).toMatchObject({ kind: 'failed', reason: 'auth_failed' });
    });
  });

  it('is no sample when the answer is something else', async () => {
    await withSshServer(
      { authorizedKeys: [probe.publicKey], answer: () => ({ code: 0, output: 'idle, honestly\n' }) },
      async (server) => {
        expect(await sampler.sample(aRequest(server), { signal })).toMatchObject({ kind: 'failed', reason: 'command_failed' });
      },
    );
  });

  it('REL-H2: does not ask a host whose key changed', async () => {
    await withSshServer({ authorizedKeys: [restricted] }, async (server) => {
      const request = aRequest(server, { pinnedHostKey: generateSshKeyPair().publicKey });

      expect(await sampler.sample(request, { signal })).toMatchObject({ kind: 'failed', reason: 'wrong_host' });
      expect(server.commands).toEqual([]);
    });
  });

  it('REL-H12: asks no private address of a far provider', async () => {
    await withSshServer({ authorizedKeys: [restricted] }, async (server) => {
      expect(await sampler.sample(aRequest(server, { privateAddresses: false }), { signal })).toMatchObject({
        kind: 'failed',
        reason: 'address_refused',
      });
    });
  });
});
