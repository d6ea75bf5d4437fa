import { createHmac } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { handOffCommand, parseHandOffAnswer, parseSample } from '../../src/provider/key-hand-off.ts';
import { openHttpServer } from '../../test/emulators/kit/http-server.ts';
import { login, withVast } from '../../test/emulators/vastai/test-client.ts';
import type { Json, TestClient } from '../../test/emulators/vastai/test-client.ts';
import { bootScript } from './boot-script.ts';

const IMAGE = 'pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime';
const BOOTED_MS = 90_000;
const HOUR_MS = 3_600_000;

function numberIn(row: Json | undefined, field: string): number {
  const value = row?.[field];
  if (typeof value !== 'number') throw new Error(`${field} is ${String(value)}`);
  return value;
}

function directPort(row: Json): number {
  return Number(/"22\/tcp":\[\{"HostIp":"0.0.0.0","HostPort":"(\d+)"/.exec(JSON.stringify(row['ports']))?.[1]);
}

/** Running, with sshd up and this key attached and accepted. */
async function rentWithKey({ rent, call, get, emulator }: TestClient, body: Json = {}) {
  const key = generateSshKeyPair('session');
  const id = await rent(body);
  await call('POST', `v0/instances/${id}/ssh/`, { ssh_key: key.publicKey });
  emulator.advance(BOOTED_MS);
  emulator.advance(15_000);
  const row = await get(id);
  return { id, key, row, proxy: numberIn(row, 'ssh_port'), direct: directPort(row) };
}

async function rentBid(client: TestClient, times = 1.5) {
  const [offer] = await client.search({ type: 'bid', rentable: { eq: true }, direct_port_count: { gte: 4 }, limit: 1 });
  const price = numberIn(offer, 'min_bid') * times;
  const answer = await client.call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: IMAGE, disk: 20, price });
  return { answer, price, offer, id: Number(answer.json['new_contract']) };
}

describe('SSH', () => {
  it('EMU-VE13: goes from hanging up over silence and a refused login to a shell that knows nvidia-smi', () =>
    withVast({}, async (client) => {
      const { rent, call, get, emulator } = client;
      const key = generateSshKeyPair('session');
      const id = await rent();
      const port = numberIn(await get(id), 'ssh_port');
      const seen: string[] = [await login(port, key.privateKey, 'echo hello')];
      for (let waited = 0; (await get(id))['actual_status'] !== 'running' && waited < 200; waited += 1) emulator.advance(500);
      emulator.advance(2_000);
      seen.push(await login(port, key.privateKey, 'echo hello'));
      emulator.advance(2_000);
      seen.push(await login(port, key.privateKey, 'echo hello'));
      await call('POST', `v0/instances/${id}/ssh/`, { ssh_key: key.publicKey });
      seen.push(await login(port, key.privateKey, 'echo hello'));
      emulator.advance(12_000);
      seen.push(await login(port, key.privateKey, 'echo hello'));

      expect(seen).toEqual(['closed', 'hangs', 'refused', 'refused', 'hello\n']);
      const gpus = await login(port, key.privateKey, 'nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits');
      expect(gpus).toMatch(/^.+, \d+\n$/);
      expect(await login(port, key.privateKey, 'true', 'ubuntu')).toBe('refused');
    }));

  it.each([
    [{ proxyDeadShare: 1 }, ['closed', 'up\n']],
    [{ directDeadShare: 1 }, ['up\n', 'closed']],
    [{ keyNeverShare: 1 }, ['refused', 'refused']],
  ])('EMU-VE13: has a proxy and a direct port that fail alone, and hosts that never take a key: %o', (knobs, expected) =>
    withVast({ knobs }, async (client) => {
      const { proxy, direct, key } = await rentWithKey(client);

      const seen = [await login(proxy, key.privateKey, 'echo up'), await login(direct, key.privateKey, 'echo up')];

      expect(seen).toEqual(expected);
    }),
  );

  it('EMU-VE25: may have another GPU than was sold', () =>
    withVast({}, async (client) => {
      const { proxy, key, row } = await rentWithKey(client);
      const query = 'nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits';
      const sold = Number(await login(proxy, key.privateKey, query));
      const lies = [];
      for (const specLie of ['vram', 'no-gpus', 'cuda'] as const) {
        client.emulator.setKnobs({ specLie });
        lies.push(await login(proxy, key.privateKey, specLie === 'cuda' ? 'nvidia-smi' : query));
      }

      expect(Math.abs(sold - numberIn(row, 'gpu_ram')) / sold).toBeLessThan(0.07);
      expect(lies.slice(0, 2)).toEqual([`${Math.round(sold / 2)}\n`, 'No devices were found\n']);
      const shown = Number(/CUDA Version: ([\d.]+)/.exec(lies[2] ?? '')?.[1]);
      expect(shown).toBeLessThan(numberIn(row, 'cuda_max_good'));
    }));

  it('rewrites the keys of the login user for whoever is logged in, and prints a sample for a restricted key', () =>
    withVast({}, async (client) => {
      const { proxy, key, id } = await rentWithKey(client);
      const consumer = generateSshKeyPair();
      const bare = (publicKey: string) => publicKey.split(' ').slice(0, 2).join(' ');
      const command = handOffCommand({
        consumerKey: bare(consumer.publicKey),
        probeKey: bare(key.publicKey),
        probeAfter: { kind: 'restrict', tag: 'berth-test' },
      });

      const answer = parseHandOffAnswer(await login(proxy, key.privateKey, command));

      expect(answer).toEqual({ consumer: 'added', probe: 'restricted', probeWasListed: true });
      expect(await login(proxy, consumer.privateKey, 'echo mine')).toBe('mine\n');
      expect(parseSample(await login(proxy, key.privateKey, 'echo mine'))).toBeDefined();
      expect(client.emulator.instances().find((each) => each.id === id)?.authorizedKeys).toHaveLength(2);
    }));

  it('gives no SSH to a run type of bare arguments, and no direct port to a proxy one', () =>
    withVast({}, async ({ rent, get, emulator }) => {
      const bare = await rent({ runtype: 'args' });
      const proxied = await rent({ runtype: 'ssh_proxy' });
      emulator.advance(BOOTED_MS);

      expect(await get(bare)).toMatchObject({ ssh_host: null, ssh_port: null });
      expect((await get(proxied))['ports']).toEqual({});
    }));
});

describe('keys', () => {
  it('EMU-VE14: has no account keys with 404, gives them to new instances only, and refuses to delete one twice with 400', () =>
    withVast({}, async (client) => {
      const { call, rent, emulator } = client;
      const old = await rent();
      expect((await call('GET', 'v0/ssh/')).status).toBe(404);

      const key = generateSshKeyPair('ops');
      const added = await call('POST', 'v0/ssh/', { ssh_key: key.publicKey });
      const fresh = await rent();
      emulator.advance(BOOTED_MS + 15_000);
      emulator.advance(15_000);

      const linesOf = (id: number) => emulator.instances().find((each) => each.id === id)?.authorizedKeys;
      expect(linesOf(old)).toEqual([]);
      expect(linesOf(fresh)).toEqual([key.publicKey]);
      expect((await call('GET', 'v0/ssh/')).json).toMatchObject({ list: [{ public_key: key.publicKey, user_id: 501_234 }] });
      const path = `v0/ssh/${/"id":(\d+)/.exec(added.text)?.[1]}/`;
      expect((await call('DELETE', path, {})).status).toBe(200);
      const again = await call('DELETE', path, {});
      expect([again.status, again.json['error']]).toEqual([400, 'no_ssh_key']);
    }));

  it('EMU-VE14: may name the key `key`, and may give account keys to every instance', () =>
    withVast({ shapes: { keyField: 'key', accountKeys: 'all' } }, async ({ call, rent, emulator }) => {
      const id = await rent();
      const { publicKey } = generateSshKeyPair();
      await call('POST', 'v0/ssh/', { ssh_key: publicKey });
      emulator.advance(BOOTED_MS);
      emulator.advance(15_000);

      expect((await call('GET', 'v0/ssh/')).json).toMatchObject({ list: [{ key: publicKey }] });
      expect(emulator.instances().find((each) => each.id === id)?.authorizedKeys).toEqual([publicKey]);
    }));

  it("EMU-VE14: lists an instance's keys as text inside JSON, detaches one, and writes it back at a reboot only while attached", () =>
    withVast({}, async (client) => {
      const { call, emulator } = client;
      const { id, key, proxy } = await rentWithKey(client);
      const listed = await call('GET', `v0/instances/${id}/ssh/`);
      const keyId = /\\"id\\":(\d+)/.exec(listed.text)?.[1];

      expect(listed.json['ssh_keys']).toEqual(expect.any(String));
      expect(String(listed.json['ssh_keys'])).toContain(key.publicKey);
      expect((await call('PUT', `v0/instances/recycle/${id}/`, {})).json).toEqual({ success: true });
      emulator.advance(BOOTED_MS);
      emulator.advance(15_000);
      expect(await login(proxy, key.privateKey, 'echo back')).toBe('back\n');

      expect((await call('DELETE', `v0/instances/${id}/ssh/${keyId}/`, {})).status).toBe(200);
      expect((await call('DELETE', `v0/instances/${id}/ssh/${keyId}/`, {})).json['error']).toBe('no_such_ssh_key');
      expect(await login(proxy, key.privateKey, 'echo back')).toBe('refused');
      await call('PUT', `v0/instances/reboot/${id}/`, {});
      expect((await client.get(id))['actual_status']).toBe('rebooting');
      emulator.advance(BOOTED_MS);
      emulator.advance(15_000);
      expect(await login(proxy, key.privateKey, 'echo back')).toBe('refused');
      expect((await call('POST', 'v0/instances/1/ssh/', { ssh_key: key.publicKey })).json['error']).toBe('no_such_instance');
    }));

  it('lets in the keys of our boot script as soon as it runs, which writes them once in the life of a container', () =>
    withVast({}, async ({ rent, call, emulator }) => {
      const { publicKey } = generateSshKeyPair();
      const id = await rent({ onstart: bootScript({ keys: [publicKey], onStart: 'echo hello' }) });
      const lines = () => emulator.instances().find((each) => each.id === id)?.authorizedKeys;

      expect(lines()).toEqual([]);
      emulator.advance(BOOTED_MS);
      expect(lines()).toEqual([publicKey]);
      await call('PUT', `v0/instances/reboot/${id}/`, {});
      emulator.advance(BOOTED_MS);
      expect(lines()).toEqual([publicKey]);
      await call('PUT', `v0/instances/recycle/${id}/`, {});
      expect(lines()).toEqual([]);
      emulator.advance(BOOTED_MS);
      expect(lines()).toEqual([publicKey]);
    }));

  it('stores a key although the attach answered 500, and the same one twice is one', () =>
    withVast({}, async ({ rent, call, emulator }) => {
      const id = await rent();
      const { publicKey } = generateSshKeyPair();
      emulator.injectFault({ kind: 'status-after', status: 500, path: '/ssh/' });

      const first = await call('POST', `v0/instances/${id}/ssh/`, { ssh_key: publicKey });
      await call('POST', `v0/instances/${id}/ssh/`, { ssh_key: publicKey });

      expect(first.status).toBe(500);
      expect(String((await call('GET', `v0/instances/${id}/ssh/`)).json['ssh_keys']).match(/ssh-ed25519/g)).toHaveLength(1);
    }));
});

describe('stop, start and destroy', () => {
  it('EMU-VE15: queues a start while another has the GPU, and fires it later', () =>
    withVast({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      expect((await call('PUT', `v0/instances/${id}/`, { state: 'stopped' })).json).toEqual({ success: true });
      emulator.advance(10_000);
      expect(await get(id)).toMatchObject({ actual_status: 'exited', intended_status: 'stopped', cur_state: 'stopped' });
      emulator.occupy(id);

      const queued = await call('PUT', `v0/instances/${id}/`, { state: 'running' });
      emulator.advance(HOUR_MS);
      const waiting = await get(id);
      emulator.vacate(id);
      emulator.advance(BOOTED_MS);

      expect([queued.status, queued.json]).toEqual([
        200,
        { success: true, msg: 'Required resources are currently unavailable, state change queued.' },
      ]);
      expect(waiting['actual_status']).toBe('exited');
      expect((await get(id))['actual_status']).toBe('running');
    }));

  it('EMU-VE15: waits for strangers to leave when somebody starts by hand what its host has stopped', () =>
    withVast({}, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);
      emulator.queueStart(id);
      emulator.advance(HOUR_MS);
      const waiting = await get(id);
      emulator.vacate(id);
      emulator.advance(BOOTED_MS);

      expect(waiting).toMatchObject({ actual_status: 'exited', intended_status: 'running' });
      expect((await get(id))['actual_status']).toBe('running');
    }));

  it('EMU-VE15: forgets a queued start when it is told to stop', () =>
    withVast({}, async ({ rent, get, call, emulator }) => {
      const id = await rent();
      await call('PUT', `v0/instances/${id}/`, { state: 'stopped' });
      emulator.occupy(id);
      await call('PUT', `v0/instances/${id}/`, { state: 'running' });
      await call('PUT', `v0/instances/${id}/`, { state: 'stopped' });
      emulator.vacate(id);
      emulator.advance(HOUR_MS);

      expect((await get(id))['actual_status']).toBe('exited');
    }));

  it.each([0, 5_000, 20_000, BOOTED_MS])('EMU-VE16: destroys at once %i ms after the create', (ms) =>
    withVast({}, async ({ rent, call, emulator }) => {
      const id = await rent();
      emulator.advance(ms);
      const port = emulator.instances()[0]?.sshPorts?.proxy ?? 0;

      expect((await call('DELETE', `v0/instances/${id}/`, {})).json).toEqual({ success: true });

      expect((await call('GET', `v0/instances/${id}/`)).json).toEqual({ instances: null });
      expect(await login(port, generateSshKeyPair().privateKey, 'true')).toBe('closed');
    }),
  );

  it.each([
    ['not_found', 404, 'not_found'],
    ['no_such_instance', 404, 'no_such_instance'],
    ['200', 200, 'no_such_instance'],
  ] as const)('EMU-VE16: answers a second destroy in the form %s', (secondDestroy, status, error) =>
    withVast({ shapes: { secondDestroy, destroyed: 'empty' } }, async ({ rent, call }) => {
      const id = await rent();

      expect((await call('DELETE', `v0/instances/${id}/`, {})).json).toEqual({});
      const second = await call('DELETE', `v0/instances/${id}/`, {});
      expect([second.status, second.json['success'], second.json['error']]).toEqual([status, false, error]);
    }),
  );

  it('EMU-VE16: refuses destroys that come sooner than 3 s, and does not perform them', () =>
    withVast({ knobs: { limits: true } }, async ({ call, emulator }) => {
      const [one, two] = [await emulator.plant('a'), await emulator.plant('b')];

      await call('DELETE', `v0/instances/${one}/`, {});
      expect((await call('DELETE', `v0/instances/${two}/`, {})).status).toBe(429);
      expect(emulator.instances().map(({ isAlive }) => isAlive)).toEqual([false, true]);
      emulator.advance(3_000);
      expect((await call('DELETE', `v0/instances/${two}/`, {})).status).toBe(200);
    }));

  it('changes a label, up to 1024 characters', () =>
    withVast({}, async ({ rent, get, call }) => {
      const id = await rent({ label: 'before' });
      await call('PUT', `v0/instances/${id}/`, { label: 'after' });

      expect((await get(id))['label']).toBe('after');
      expect((await call('PUT', `v0/instances/${id}/`, { label: 'x'.repeat(1_025) })).json['error']).toBe('label_too_long');
    }));

  it('answers a command that is no JSON with 483', () =>
    withVast({}, async ({ rent, call }) => {
      const id = await rent();

      expect((await call('PUT', `v0/instances/command/${id}/`, 'ls')).status).toBe(483);
      expect((await call('PUT', `v0/instances/request_logs/${id}/`, { tail: '10' })).json).toMatchObject({
        success: true,
        msg: '',
      });
    }));
});

describe('interruptible instances', () => {
  it('EMU-VE17: bills the bid, not the floor', () =>
    withVast({}, async (client) => {
      const { id, price } = await rentBid(client);

      const row = await client.get(id);

      expect(row).toMatchObject({ is_bid: true, dph_base: price });
      expect(numberIn(row, 'dph_total')).toBeCloseTo(price + numberIn(row, 'storage_total_cost'), 9);
    }));

  it.each([
    ['a', 'running', { actual_status: 'exited', intended_status: 'running' }],
    ['b', 'running', { actual_status: 'exited', intended_status: 'stopped', cur_state: 'stopped', next_state: 'stopped' }],
    ['b', 'loading', { actual_status: 'loading', intended_status: 'stopped', cur_state: 'stopped', next_state: 'stopped' }],
  ] as const)('EMU-VE17: is outbid in picture (%s) while %s, and resumes by itself', (picture, status, expected) =>
    withVast({ shapes: { preemption: picture } }, async (client) => {
      const { id } = await rentBid(client);
      client.emulator.advance(status === 'running' ? BOOTED_MS : 20_000);
      expect((await client.get(id))['actual_status']).toBe(status);

      client.emulator.preempt(id, { resumeAfterMs: HOUR_MS });
      const lost = await client.get(id);
      client.emulator.advance(300_000);
      const later = await client.get(id);
      client.emulator.advance(HOUR_MS + BOOTED_MS);

      expect(lost).toMatchObject(expected);
      expect(later['actual_status']).toBe('exited');
      expect(await client.get(id)).toMatchObject({ actual_status: 'running', intended_status: 'running' });
    }),
  );

  it('EMU-VE17: wins again with a higher bid', () =>
    withVast({}, async (client) => {
      const { id, price } = await rentBid(client);
      client.emulator.preempt(id);
      const path = `v0/instances/bid_price/${id}/`;

      expect((await client.call('PUT', path, { client_id: 'me', price: 0 })).json['msg']).toContain('>= 0.001');
      await client.call('PUT', path, { client_id: 'me', price: price * 2 });
      client.emulator.advance(BOOTED_MS);

      expect((await client.get(id))['actual_status']).toBe('running');
    }));

  it.each(['refused-with-contract', 'accepted-then-stopped'] as const)(
    'EMU-VE17 EMU-VE6: loses at once with a bid over the floor but under what others bid (%s)',
    (losingBid) =>
      withVast({ shapes: { losingBid, searchCap: 'none' } }, async (client) => {
        const [offer] = await client.search({ type: 'bid', rentable: { eq: true }, limit: 1 });
        const floor = numberIn(offer, 'min_bid');
        const first = await client.call('PUT', `v0/asks/${String(offer?.['id'])}/`, { image: IMAGE, price: floor * 3 });
        client.emulator.preempt(numberIn(first.json, 'new_contract'));
        const find = { type: 'bid', machine_id: { eq: offer?.['machine_id'] }, num_gpus: { eq: offer?.['num_gpus'] } };
        const [held] = await client.search(find);

        const path = `v0/asks/${String(held?.['id'])}/`;
        const answer = await client.call('PUT', path, { image: IMAGE, price: floor * 1.1, cancel_unavail: false });
        client.emulator.advance(20_000);

        expect(answer.json).toMatchObject({
          success: losingBid === 'accepted-then-stopped',
          new_contract: expect.any(Number),
        });
        expect(await client.get(numberIn(answer.json, 'new_contract'))).toMatchObject({ intended_status: 'stopped' });
        const cancelled = await client.call('PUT', `v0/asks/${String((await client.search(find))[0]?.['id'])}/`, { image: IMAGE, price: floor * 1.1, cancel_unavail: true }); // prettier-ignore
        expect(cancelled.status).toBe(410);
      }),
  );

  it('EMU-VE17: gives way to whoever rents on demand', () =>
    withVast({ shapes: { preemption: 'b' } }, async (client) => {
      const { id, offer } = await rentBid(client);
      client.emulator.advance(BOOTED_MS);
      const find = { machine_id: { eq: offer?.['machine_id'] }, rentable: { eq: true }, gpu_frac: { eq: 1 } };
      const [whole] = await client.search(find);

      const made = await client.call('PUT', `v0/asks/${String(whole?.['id'])}/`, { image: IMAGE });

      expect(made.json['success']).toBe(true);
      expect((await client.get(id))['intended_status']).toBe('stopped');
    }));

  it('EMU-VE23: tells a webhook, signed, again after a 503, and more than once', () =>
    withVast({ knobs: { webhookTwiceShare: 1 } }, async (client) => {
      const received: { attempt: string; signature: string; stamp: string; text: string }[] = [];
      const listener = await openHttpServer(0, ({ headers, text }) => {
        const [attempt = '', signature = '', stamp = ''] = ['delivery-attempt', 'signature-256', 'timestamp'].map((name) => headers[`x-vast-${name}`]); // prettier-ignore
        received.push({ attempt, signature, stamp, text });
        return Promise.resolve({
          as: 'reply',
          reply: { status: received.length === 1 ? 503 : 204, text: '', contentType: 'text/plain' },
        });
      });
      try {
        const hook = { url: listener.url, secret: 'shh', events: ['client:outbid'] };
        expect((await client.call('POST', 'v0/webhooks/', hook)).json['success']).toBe(true);
        const { id } = await rentBid(client);
        client.emulator.preempt(id);
        for (let step = 0; step < 5; step += 1) {
          client.emulator.advance(20_000);
          await setImmediate();
        }
        await expect.poll(() => (client.emulator.advance(20_000), received.length)).toBe(3);
      } finally {
        await listener.close();
      }

      expect(received.map(({ attempt }) => attempt).sort()).toEqual(['1', '1', '2']);
      expect(received[0]?.text).toContain('"notif_type":"outbid"');
      for (const { signature, stamp, text } of received)
        expect(signature).toBe(`sha256=${createHmac('sha256', 'shh').update(`${stamp}.${text}`).digest('hex')}`);
    }));

  it('EMU-VE17: has other bidders as a random process', () =>
    withVast({ knobs: { outbidPerHour: 10 } }, async (client) => {
      const { id } = await rentBid(client, 1.2);
      const seen = new Set<unknown>();
      for (let step = 0; step < 60; step += 1) {
        client.emulator.advance(300_000);
        seen.add((await client.get(id))['intended_status']);
      }

      expect(seen).toEqual(new Set(['running', 'stopped']));
    }));
});
