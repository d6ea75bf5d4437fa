import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { handOffCommand, parseHandOffAnswer, parseSample } from '../../src/provider/key-hand-off.ts';
import { login } from '../../test/emulators/tensordock/login.ts';
import { BOOTED_MS, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';
import type { Json, TestClient } from '../../test/emulators/tensordock/test-client.ts';

const QUERY = 'nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits';
const HOUR_MS = 3_600_000;

/** As an operator learned to do it: the field, and the same for both users at the end of cloud-init. */
function bothWays(publicKey: string): Json {
  const runcmd = ['/root', '/home/user'].flatMap((home) => [
    `mkdir -p ${home}/.ssh`,
    `echo '${publicKey}' >> ${home}/.ssh/authorized_keys`,
  ]);
  const owned = 'chown -R user:user /home/user/.ssh && chmod 700 /home/user/.ssh';
  return { ssh_key: publicKey, cloud_init: { package_update: false, runcmd: [...runcmd, owned] } };
}

function placeOf({ emulator }: TestClient) {
  const place = emulator.instances()[0]?.ssh;
  if (place === undefined) throw new Error('there is no instance');
  return place;
}

async function rentWithKey(client: TestClient, attributes: Json = {}) {
  const key = generateSshKeyPair('session');
  const id = await client.rent({ ...bothWays(key.publicKey), ...attributes });
  client.emulator.advance(BOOTED_MS);
  return { id, key, place: placeOf(client) };
}

describe('SSH', () => {
  it('goes from hanging up over silence and a refused login to a shell, on the port that the API tells', () =>
    withTensorDock({ knobs: { ipMinMs: 10_000, ipMaxMs: 10_000 } }, async (client) => {
      const { emulator } = client;
      const key = generateSshKeyPair('session');
      const id = await client.rent(bothWays(key.publicKey));
      const place = placeOf(client);
      const seen: string[] = [];
      const look = async () => seen.push(await login(place, { ...key, user: 'root' }, 'echo hello'));
      await look();
      emulator.advance(10_000);
      await look();
      emulator.advance(10_000);
      await look();
      emulator.advance(5_000);
      await look();
      emulator.advance(80_000);
      await look();

      expect(seen).toEqual(['closed', 'closed', 'hangs', 'refused', 'hello\n']);
      const told = (await client.get(id))['portForwards'];
      expect(told).toEqual([{ internal_port: 22, external_port: place.port }]);
    }));

  it('EMU-TE12: takes the key 60 to 120 seconds after the address, with refusals in between, and the field half way', () =>
    withTensorDock({}, async (client) => {
      const key = generateSshKeyPair('session');
      await client.rent(bothWays(key.publicKey));
      const firsts = new Map<string, number>();
      for (let second = 0; second <= 130; second += 10) {
        for (const user of ['user', 'root'])
          if (!firsts.has(user) && (await login(placeOf(client), { ...key, user }, 'whoami')) === `${user}\n`) firsts.set(user, second);
        client.emulator.advance(10_000);
      }

      expect(firsts.get('root')).toBeGreaterThanOrEqual(60);
      expect(firsts.get('root')).toBeLessThanOrEqual(120);
      expect(firsts.get('user')).toBeLessThan(firsts.get('root') ?? 0);
    }), 60_000); // prettier-ignore

  it.each([
    [{}, 'user\n', 'refused'],
    [{ keyFieldIgnoredShare: 1 }, 'refused', 'refused'],
  ])('EMU-TE12: lets the field alone open user and never root, or nothing: %o', (knobs, user, root) =>
    withTensorDock({ knobs }, async (client) => {
      const { key, place } = await rentWithKey(client, { cloud_init: undefined });

      expect(await login(place, { ...key, user: 'user' }, 'whoami')).toBe(user);
      expect(await login(place, { ...key, user: 'root' }, 'whoami')).toBe(root);
    }),
  );

  it.each([
    [{ keyFieldIgnoredShare: 1 }, 'user\n'],
    [{ keyNeverShare: 1 }, 'refused'],
  ])('EMU-TE12: brings the key by runcmd, or never: %o', (knobs, expected) =>
    withTensorDock({ knobs }, async (client) => {
      const { key, place } = await rentWithKey(client);

      expect(await login(place, { ...key, user: 'user' }, 'whoami')).toBe(expected);
      expect(await login(place, { ...key, user: 'ubuntu' }, 'whoami')).toBe('refused');
    }),
  );

  it('EMU-TE12: is later with packages to install', () =>
    withTensorDock({}, async (client) => {
      const key = generateSshKeyPair('session');
      const runcmd = ['mkdir -p /root/.ssh', `echo '${key.publicKey}' >> /root/.ssh/authorized_keys`];
      await client.rent({ cloud_init: { package_update: true, package_upgrade: true, packages: ['htop'], runcmd } });
      client.emulator.advance(BOOTED_MS);
      const early = await login(placeOf(client), { ...key, user: 'root' }, 'whoami');
      client.emulator.advance(180_000);

      expect([early, await login(placeOf(client), { ...key, user: 'root' }, 'whoami')]).toEqual(['refused', 'root\n']);
    }));

  it('EMU-TE4: answers nowhere when the forwards are ignored', () =>
    withTensorDock({ knobs: { forwardsIgnoredShare: 1 } }, async (client) => {
      const { key, place } = await rentWithKey(client);

      expect(await login(place, { ...key, user: 'user' }, 'whoami')).toBe('closed');
    }));

  it('answers on an address of its own, at port 22 or at a port that is told', () =>
    withTensorDock({ knobs: { forwardsIgnoredShare: 1 } }, async (client) => {
      const { key, place, id } = await rentWithKey(client, { useDedicatedIp: true, port_forwards: undefined });

      const row = await client.get(id);
      expect(row['ipAddress']).toBe(place.host);
      expect(row['portForwards']).toEqual(place.port === 22 ? [] : [{ internal_port: 22, external_port: place.port }]);
      expect(await login(place, { ...key, user: 'user' }, 'whoami')).toBe('user\n');
    }));

  it('EMU-E16: goes silent, hangs up when it stops, and takes the old keys when it starts', () =>
    withTensorDock({}, async (client) => {
      const { key, place, id } = await rentWithKey(client);
      const look = () => login(place, { ...key, user: 'root' }, 'echo hello');
      const seen = [await look()];
      await client.call('POST', `instances/${id}/stop`);
      client.emulator.advance(8_000);
      seen.push(await look());
      await client.call('POST', `instances/${id}/start`);
      client.emulator.advance(40_000);
      seen.push(await look());
      client.emulator.goOffline(id, 'silent');
      seen.push(await look());

      expect(seen).toEqual(['hello\n', 'closed', 'hello\n', 'hangs']);
    }));

  it('runs cloud-init in the end even if it was stopped before that', () =>
    withTensorDock({}, async (client) => {
      const key = generateSshKeyPair('session');
      const id = await client.rent(bothWays(key.publicKey));
      client.emulator.advance(35_000);
      await client.call('POST', `instances/${id}/stop`);
      client.emulator.advance(HOUR_MS);
      const rootKeys = () => client.emulator.instances()[0]?.authorizedKeys.root;
      const whileStopped = rootKeys();
      await client.call('POST', `instances/${id}/start`);
      client.emulator.advance(50_000);
      const atFirst = rootKeys();
      client.emulator.advance(BOOTED_MS);

      expect([whileStopped, atFirst]).toEqual([[], []]);
      expect(await login(placeOf(client), { ...key, user: 'root' }, 'echo hello')).toBe('hello\n');
    }));

  it('rewrites the keys of who is logged in, and leaves those of the other user', () =>
    withTensorDock({}, async (client) => {
      const { key, place } = await rentWithKey(client);
      const consumer = generateSshKeyPair();
      const bare = (publicKey: string) => publicKey.split(' ').slice(0, 2).join(' ');
      const command = handOffCommand({
        consumerKey: bare(consumer.publicKey),
        probeKey: bare(key.publicKey),
        probeAfter: { kind: 'restrict', tag: 'berth-test' },
      });

      const answer = parseHandOffAnswer(await login(place, { ...key, user: 'root' }, command));

      expect(answer).toMatchObject({ consumer: 'added', probe: 'restricted', probeWasListed: true });
      expect(await login(place, { ...consumer, user: 'root' }, 'whoami')).toBe('root\n');
      expect(await login(place, { ...consumer, user: 'user' }, 'whoami')).toBe('refused');
      expect(parseSample(await login(place, { ...key, user: 'root' }, 'whoami'))).toBeDefined();
      expect(await login(place, { ...key, user: 'user' }, 'whoami')).toBe('user\n');
    }));
});

describe('the driver', () => {
  it('shows the GPUs that were sold, to a user with sudo as well', () =>
    withTensorDock({}, async (client) => {
      const gpus = { 'geforcertx4090-pcie-24gb': { count: 2 } };
      const { key, place } = await rentWithKey(client, { resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 200, gpus } });

      const expected = 'NVIDIA GeForce RTX 4090, 24564\n'.repeat(2);
      expect(await login(place, { ...key, user: 'root' }, QUERY)).toBe(expected);
      expect(await login(place, { ...key, user: 'user' }, `sudo -n ${QUERY}`)).toBe(expected);
    }));

  it.each([
    ['missing', '', '', ''],
    ['late', '', 'NVIDIA', 'NVIDIA'],
    ['mismatch', 'Failed to initialize NVML', 'Failed to initialize NVML', 'NVIDIA'],
  ] as const)('EMU-TE13: is %s: at first "%s", minutes later "%s", after a stop and a start "%s"', (driver, ...expected) =>
    withTensorDock({ knobs: { driver } }, async (client) => {
      const { key, place, id } = await rentWithKey(client);
      const look = () => login(place, { ...key, user: 'root' }, QUERY);
      const seen = [await look()];
      client.emulator.advance(240_000);
      seen.push(await look());
      await client.call('POST', `instances/${id}/stop`);
      client.emulator.advance(8_000);
      await client.call('POST', `instances/${id}/start`);
      client.emulator.advance(40_000);
      seen.push(await look());

      expect(seen.map((text, index) => text.slice(0, expected[index]?.length))).toEqual(expected);
      expect(seen.filter((text) => text === '').length).toBe(expected.filter((text) => text === '').length);
    }),
  );

  it('may show another GPU than was sold', () =>
    withTensorDock({}, async (client) => {
      const { key, place } = await rentWithKey(client);
      const seen: string[] = [];
      for (const specLie of ['vram', 'no-gpus', 'cuda'] as const) {
        client.emulator.setKnobs({ specLie });
        seen.push(await login(place, { ...key, user: 'root' }, specLie === 'cuda' ? 'nvidia-smi' : QUERY));
      }

      expect(seen.slice(0, 2)).toEqual(['NVIDIA GeForce RTX 4090, 12282\n', 'No devices were found\n']);
      expect(seen[2]).toContain('CUDA Version: 11.4');
    }));

  it('EMU-TE13: is in trouble by chance', () =>
    withTensorDock({ knobs: { driverTroubleShare: 1 } }, async (client) => {
      const { key, place } = await rentWithKey(client);

      expect(await login(place, { ...key, user: 'root' }, QUERY)).not.toContain('RTX');
    }));
});
