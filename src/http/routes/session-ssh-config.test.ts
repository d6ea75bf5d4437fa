import { describe, expect, it } from 'vitest';
import type { SessionId } from '../../core/ids.ts';
import { aSession, httpWorlds, PUBLIC_KEY, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();
const HOST_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHosthosthosthosthosthosthosthosthosthostho';

/** Running at an address, as a provider might name it. */
async function run(world: World, id: SessionId, { host = '203.0.113.7', user = 'root', hostKey = HOST_KEY } = {}) {
  const { ordinal } = await world.accept(id);
  await world.apply(id, { kind: 'proven', ordinal, proof: { user, hostKey, host, port: 22_022, details: {} } });
}

async function get({ app }: World, path: string, headers: Record<string, string> = {}) {
  const { statusCode: status, headers: answered, body } = await app.inject({ url: `/api/v1/sessions/${path}`, headers });
  return { status, type: answered['content-type'], body, json: () => JSON.parse(body) as Record<string, string> };
}

describe('GET /api/v1/sessions/:id/ssh-config', () => {
  it('HAKU-9.16: gives a block and a known_hosts line under the session’s own name', async () => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id);

    const answer = await get(world, `${id}/ssh-config`);

    expect(answer.status).toBe(200);
    expect(answer.json()).toMatchObject({
      session_id: id,
      host: id,
      host_name: '203.0.113.7',
      port: 22_022,
      user: 'root',
      host_key_fingerprint: expect.stringMatching(/^SHA256:/),
      known_hosts: `${id} ${HOST_KEY}\n`,
      known_hosts_file: '~/.ssh/known_hosts.berth',
    });
    expect(answer.json()['config']?.replaceAll(id, 'ses_1')).toMatchInlineSnapshot(`
      "# session of Berth at memory; its key is SHA256:Hs0XyF9mnJ/sirnjTaHUyp5XYdfhaHG5cys3xU5XS+U
      Host ses_1
        HostName 203.0.113.7
        Port 22022
        User root
        # IdentityFile <the file of the private key above, if it is none that ssh tries by itself>
        HostKeyAlias ses_1
        UserKnownHostsFile ~/.ssh/known_hosts.berth
        StrictHostKeyChecking yes
        ServerAliveInterval 30
      "
    `);
  });

  it('uses the files that are named, whatever is in their names', async () => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id);

    const query = new URLSearchParams({
      identity_file: 'C:/My Keys/50%/id',
      known_hosts_file: '~/.ssh/known_hosts',
    }).toString();
    const { config = '' } = (await get(world, `${id}/ssh-config?${query}`)).json();

    expect(config).toContain('  IdentityFile "C:/My Keys/50%%/id"\n  IdentitiesOnly yes\n');
    expect(config).toContain('  UserKnownHostsFile ~/.ssh/known_hosts\n');
  });

  it.each(['a"b', 'a\nProxyCommand x', 'C:\\keys'])('refuses %j as a file name', async (path) => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id);

    const answer = await get(world, `${id}/ssh-config?identity_file=${encodeURIComponent(path)}`);

    expect(answer.status).toBe(400);
    expect(answer.json()['error']).toContain('identity_file');
  });

  it.each([
    ['text/plain', '', /^# session.*\nHost ses_/],
    ['text/plain', '?part=known_hosts', /^ses_\w{26} ssh-ed25519 \S+\n$/],
    ['text/plain, application/json;q=0.5', '?part=known_hosts', /^ses_/],
  ])('answers Accept: %s %s with nothing but that part', async (accept, query, text) => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id);

    const answer = await get(world, `${id}/ssh-config${query}`, { accept });

    expect(answer.type).toBe('text/plain; charset=utf-8');
    expect(answer.body).toMatch(text);
  });

  it.each(['*/*', 'application/json', 'application/json, text/plain;q=0.1', 'text/plain;q=0', 'text/html'])(
    'answers Accept: %s with JSON',
    async (accept) => {
      const world = await aWorld();
      const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
      await run(world, id);

      expect((await get(world, `${id}/ssh-config`, { accept })).type).toBe('application/json; charset=utf-8');
    },
  );

  it('says which state a session is in that nobody can reach yet', async () => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    const pending = await get(world, `${id}/ssh-config`);
    await world.accept(id);
    const booting = await get(world, `${id}/ssh-config`, { accept: 'text/plain' });

    expect([pending.status, booting.status]).toEqual([409, 409]);
    expect(pending.json()).toMatchObject({ error_type: 'invalid_state', session_id: id, status: 'pending', phase: 'queued' });
    expect(booting.json()['error']).toMatch(/provisioning \(booting\) and has no address yet; GET .*wait=300/);
  });

  it('says that a session has ended, or is about to, and why', async () => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id);
    await world.apply(id, { kind: 'stop_requested', reason: 'expired' });
    const stopping = await get(world, `${id}/ssh-config`);
    await world.vanish(id);
    const stopped = await get(world, `${id}/ssh-config`);

    expect(stopping.json()).toMatchObject({ error: expect.stringContaining('stopping (expired)'), reason: 'expired' });
    expect(stopped.json()).toMatchObject({ error: expect.stringContaining('has ended (stopped, expired)'), status: 'stopped' });
  });

  it.each([
    ['a host', { host: 'host\nProxyCommand touch /tmp/x' }],
    ['a host', { host: '-oProxyCommand=x' }],
    ['a user', { user: 'root\n  LocalCommand x' }],
    ['a host key', { hostKey: 'ssh-ed25519 AAAA\n* ssh-ed25519 BBBB' }],
  ])('writes nothing of %s that could mean something else to the client: %j', async (_, address) => {
    const world = await aWorld();
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY });
    await run(world, id, address);

    const answer = await get(world, `${id}/ssh-config`);

    expect(answer.status).toBe(409);
    expect(answer.body).not.toContain('Proxy');
  });

  it('is the session’s own consumer’s to see', async () => {
    const keys = { alice: 'alice-key-0123456789', bob: 'bob-key-0123456789' };
    const world = await aWorld({ keys });
    const id = await aSession(world, { ssh_public_key: PUBLIC_KEY }, keys.alice);
    await run(world, id);

    const [own, foreign, nobody] = await Promise.all(
      [`Bearer ${keys.alice}`, `Bearer ${keys.bob}`, ''].map((authorization) =>
        get(world, `${id}/ssh-config`, authorization === '' ? {} : { authorization }),
      ),
    );

    expect([own?.status, foreign?.status, nobody?.status]).toEqual([200, 404, 401]);
  });
});
