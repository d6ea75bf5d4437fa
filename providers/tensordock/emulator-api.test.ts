import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { BOOTED_MS, KEY, withTensorDock } from '../../test/emulators/tensordock/test-client.ts';

describe('keys', () => {
  it('EMU-E9: takes the token as a bearer, and neither the authorization id nor nothing', () =>
    withTensorDock({}, async ({ call, emulator }) => {
      const statusOf = async (token: string | null) => (await call('GET', 'instances', undefined, token)).status;

      expect(await statusOf(emulator.apiToken)).toBe(200);
      expect(await statusOf(emulator.authorizationId)).toBe(401);
      expect(await statusOf('nonsense')).toBe(401);
      expect(await statusOf(null)).toBe(401);
      expect((await call('POST', 'auth/test')).status).toBe(200);
      expect((await call('POST', 'auth/test', undefined, 'nonsense')).status).toBe(401);
    }));

  it('EMU-E9: refuses a token that is revoked in the middle of a run, and takes it again once restored', () =>
    withTensorDock({}, async ({ call, emulator, rent }) => {
      const id = await rent();
      emulator.revokeKey(emulator.apiToken);
      const refused = [await call('GET', 'instances'), await call('DELETE', `instances/${id}`)].map(({ status }) => status);
      emulator.restoreKey(emulator.apiToken);

      expect(refused).toEqual([401, 401]);
      expect((await call('GET', `instances/${id}`)).status).toBe(200);
      expect((await call('GET', 'instances', undefined, emulator.addKey())).status).toBe(200);
    }));

  it.each([
    ['json', 401, '{"error":"Invalid API credentials"}'],
    ['json', 403, '{"error":"Invalid API credentials"}'],
    ['text', 401, 'Unauthorized'],
    ['text', 403, 'Forbidden'],
  ] as const)('EMU-E9: says so as %s with %i', (authError, wrongToken, text) =>
    withTensorDock({ shapes: { authError, wrongToken } }, async ({ call }) => {
      const answer = await call('GET', 'instances', undefined, 'nonsense');

      expect([answer.status, answer.text]).toEqual([wrongToken, text]);
    }),
  );

  it('shows the inventory to nobody in particular, and to a pair in the query that is right', () =>
    withTensorDock({}, async ({ call, emulator }) => {
      const statusOf = async (query: string) => (await call('GET', `locations${query}`, undefined, null)).status;
      const pair = (token: string) => `?api_key=${emulator.authorizationId}&api_token=${token}`;

      expect(await statusOf('')).toBe(200);
      expect(await statusOf(pair(emulator.apiToken))).toBe(200);
      expect(await statusOf(pair('nonsense'))).toBe(401);
      expect((await call('GET', `instances${pair(emulator.apiToken)}`, undefined, null)).status).toBe(401);
    }));
});

describe('limits', () => {
  it('EMU-TE17 EMU-E5: lets an organisation call a hundred times in any minute, with all its tokens together', () =>
    withTensorDock({ knobs: { limits: true } }, async ({ call, emulator }) => {
      const second = emulator.addKey();
      for (let done = 0; done < 60; done += 1) await call('GET', 'instances');
      emulator.advance(30_000);
      for (let done = 0; done < 40; done += 1) await call('GET', 'instances', undefined, second);
      const refused = await call('GET', 'instances');
      emulator.advance(30_001);

      expect([refused.status, refused.text]).toEqual([429, '{"error":"Rate limit exceeded. Please try again later."}']);
      for (let done = 0; done < 60; done += 1) expect((await call('GET', 'instances')).status).toBe(200);
      expect((await call('GET', 'instances')).status).toBe(429);
    }));

  it('EMU-TE17: does nothing for a refused call', () =>
    withTensorDock({ knobs: { limits: true, perMinute: 2 } }, async ({ call, rent, emulator }) => {
      const id = await rent();

      expect((await call('DELETE', `instances/${id}`)).status).toBe(429);
      expect(emulator.instances()).toMatchObject([{ id, isAlive: true }]);
    }));

  it.each([
    ['none', undefined, undefined],
    ['x-ratelimit', 'x-ratelimit-remaining', '0'],
    ['ratelimit', 'ratelimit-remaining', '0'],
  ] as const)('EMU-TE17: tells the limit in the headers of every answer, or not at all (%s)', (limitHeaders, name, left) =>
    withTensorDock({ shapes: { limitHeaders, retryAfter: true }, knobs: { limits: true, perMinute: 2 } }, async (client) => {
      const first = await client.call('GET', 'instances');
      await client.call('GET', 'instances');
      const refused = await client.call('GET', 'instances');

      const told = [...first.headers.keys()].filter((each) => each.includes('ratelimit'));
      expect(told).toHaveLength(name === undefined ? 0 : 3);
      expect(refused.headers.get('retry-after')).toBe('60');
      if (name !== undefined) expect(refused.headers.get(name)).toBe(left);
    }),
  );

  it('EMU-E5: refuses calls beyond its own algorithm, under stress', () =>
    withTensorDock({ knobs: { throttleShare: 1 } }, async ({ call }) => {
      expect((await call('GET', 'instances')).status).toBe(429);
    }));
});

describe('validation', () => {
  it('EMU-TE8: answers a create with a list of what is wrong, each with its path', () =>
    withTensorDock({}, async ({ call, order }) => {
      const resources = { vcpu_count: 8, ram_gb: 32, storage_gb: 40, gpus: { 'geforcertx4090-pcie-24gb': { count: 1 } } };
      const small = await call('POST', 'instances', await order({ resources }));
      const closed = await call('POST', 'instances', await order({ port_forwards: [] }));

      expect(small.status).toBe(400);
      expect(small.list).toMatchObject([
        {
          code: 'too_small',
          message: 'storage_gb must be at least 100',
          path: ['data', 'attributes', 'resources', 'storage_gb'],
        },
      ]);
      expect(closed.list).toEqual([
        {
          code: 'custom',
          message: 'SSH port (22) must be forwarded for Ubuntu VMs',
          path: ['data', 'attributes', 'port_forwards'],
        },
      ]);
    }));

  it.each([
    ['both places', { hostnode_id: 'x' }, 'location_id'],
    ['no place', { location_id: null }, 'location_id'],
    ['both keys', { ssh_key_id: 'x' }, 'ssh_key'],
    ['no key', { ssh_key: null }, 'ssh_key'],
    ['a key that is not known', { ssh_key: null, ssh_key_id: 'x' }, 'ssh_key_id'],
    ['no GPU at a location', { resources: { vcpu_count: 2, ram_gb: 4, storage_gb: 100 } }, 'gpus'],
    [
      'memory beside the ladder',
      { resources: { vcpu_count: 2, ram_gb: 12, storage_gb: 100, gpus: { a: { count: 1 } } } },
      'ram_gb',
    ],
    ['odd processors', { resources: { vcpu_count: 3, ram_gb: 4, storage_gb: 100, gpus: { a: { count: 1 } } } }, 'vcpu_count'],
    ['an image that is not there', { image: 'ubuntu1804' }, 'image'],
  ])('EMU-TE8: refuses %s', (_name, attributes, field) =>
    withTensorDock({}, async ({ call, order, emulator }) => {
      const answer = await call('POST', 'instances', await order(attributes));

      expect(answer.status).toBe(400);
      expect(answer.list.map(({ path }) => (path as string[]).at(-1))).toEqual([field]); // holds because the emulator writes lists there
      expect(emulator.instances()).toEqual([]);
    }),
  );

  it('EMU-TE8: may say it in one sentence instead', () =>
    withTensorDock({ shapes: { validation: 'error' } }, async ({ call, order }) => {
      const answer = await call('POST', 'instances', await order({ port_forwards: [] }));

      expect([answer.status, answer.json]).toEqual([400, { error: 'SSH port (22) must be forwarded for Ubuntu VMs' }]);
    }));

  it('answers what is no JSON, no path and no method', () =>
    withTensorDock({}, async ({ call }) => {
      expect((await call('POST', 'instances', 'not json')).status).toBe(400);
      expect((await call('GET', 'nothing')).text).toContain('<html>');
      expect((await call('PATCH', 'secrets')).status).toBe(405);
      expect((await call('GET', 'instances/0b7f2c55-6f0e-4a3c-8d0e-2f1c7f3b9a11')).status).toBe(404);
    }));
});

describe('shapes', () => {
  it.each([
    ['array', 'short', { data: [{ type: 'virtualmachine', rateHourly: expect.any(Number) }] }],
    ['nested', 'full', { data: { instances: [{ resources: { vcpu_count: 8 }, portForwards: [] }] } }],
  ] as const)('EMU-TE2: lists as %s with %s rows', (list, listRow, expected) =>
    withTensorDock({ shapes: { list, listRow } }, async ({ call, rent }) => {
      await rent();

      expect((await call('GET', 'instances')).json).toMatchObject(expected);
    }),
  );

  it.each([
    ['array', '{"data":[]}'],
    ['nested', '{"data":{"instances":[]}}'],
  ] as const)('EMU-TE2: lists nothing as %s', (list, text) =>
    withTensorDock({ shapes: { list } }, async ({ call }) => {
      expect((await call('GET', 'instances')).text).toBe(text);
    }),
  );

  it.each([
    ['flat', { type: 'virtualmachine', name: 'one', status: 'running', rateHourly: expect.any(Number) }],
    ['data', { data: { type: 'virtualmachine', name: 'one', status: 'running' } }],
    [
      'attributes',
      { data: { type: 'virtualmachine', id: expect.any(String), attributes: { name: 'one', status: 'running' } } },
    ],
  ] as const)('EMU-TE2: shows one instance as %s', (single, expected) =>
    withTensorDock({ shapes: { single } }, async ({ rent, get }) => {
      expect(await get(await rent({ name: 'one' }))).toMatchObject(expected);
    }),
  );

  it.each([
    ['lower', 'running', 'stoppeddisassociated'],
    ['title', 'Running', 'StoppedDisassociated'],
    ['upper', 'RUNNING', 'STOPPED_DISASSOCIATED'],
    ['spaced', 'Running', 'Stopped Disassociated'],
    ['dashed', 'running', 'stopped-disassociated'],
  ] as const)('EMU-TE15: writes a status in %s case', (statusCase, running, reclaimed) =>
    withTensorDock({ shapes: { statusCase } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      const before = (await get(id))['status'];
      emulator.preempt(id);

      expect([before, (await get(id))['status']]).toEqual([running, reclaimed]);
    }),
  );

  it('EMU-TE15: may mix the cases of one status', () =>
    withTensorDock({ shapes: { statusCase: 'mixed' } }, async ({ rent, list }) => {
      for (let made = 0; made < 7; made += 1)
        await rent({
          resources: { vcpu_count: 2, ram_gb: 4, storage_gb: 100, gpus: { 'geforcertx4090-pcie-24gb': { count: 1 } } },
        });

      const spellings = new Set((await list()).map(({ status }) => status));
      expect(spellings.size).toBeGreaterThan(1);
      expect([...spellings].map((each) => String(each).toLowerCase())).toEqual([...spellings].map(() => 'running'));
    }));

  it.each([
    [
      { forwards: 'camel', portNumbers: 'number' },
      { portForwards: [{ internal_port: 22, external_port: expect.any(Number) }] },
    ],
    [
      { forwards: 'snake', portNumbers: 'string' },
      { port_forwards: [{ internal_port: '22', external_port: expect.any(String) }] },
    ],
    [{ moneyNumbers: 'string' }, { rateHourly: expect.stringMatching(/^0\.\d+$/) }],
    [{ noIp: 'empty' }, { ipAddress: '127.0.0.1' }],
  ] as const)('has its numbers and ports in the form %o', (shapes, expected) =>
    withTensorDock({ shapes }, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);

      expect(await get(id)).toMatchObject(expected);
    }),
  );

  it('has ports as a map in the oldest form, from the external to the internal one', () =>
    withTensorDock({ shapes: { forwards: 'map', portNumbers: 'string' } }, async ({ rent, get, emulator }) => {
      const id = await rent();
      emulator.advance(BOOTED_MS);

      const ports = (await get(id))['port_forwards'];
      expect(Object.entries(ports ?? {})).toEqual([[expect.stringMatching(/^\d+$/), '22']]);
    }));

  it.each([
    ['uuid', /^[0-9a-f-]{36}$/],
    ['upper', /^[0-9A-F-]{36}$/],
    ['compact', /^[0-9a-f]{32}$/],
  ] as const)('has ids in the form %s', (id, pattern) =>
    withTensorDock({ shapes: { id } }, async ({ rent, get }) => {
      const made = await rent();

      expect(made).toMatch(pattern);
      expect((await get(made))['id']).toBe(made);
    }),
  );
});

describe('broken answers', () => {
  it('EMU-E4: answers with a page of 502 or 503 instead of JSON, and has done nothing', () =>
    withTensorDock({}, async ({ call, order, emulator }) => {
      const body = await order();
      emulator.setKnobs({ htmlShare: 1 });
      const statuses = new Set<number>();
      for (let tried = 0; tried < 12; tried += 1) {
        const answer = await call('POST', 'instances', body);
        statuses.add(answer.status);
        expect(answer.headers.get('content-type')).toBe('text/html');
        expect(answer.text).toContain(`<h1>${answer.status} `);
      }

      expect(statuses).toEqual(new Set([502, 503]));
      expect(emulator.instances()).toEqual([]);
    }));

  it('EMU-E8: cuts a body in the middle', () =>
    withTensorDock({}, async ({ call, emulator }) => {
      emulator.setKnobs({ halfBodyShare: 1 });

      await expect(call('GET', 'locations')).rejects.toThrow();
    }));

  it('EMU-E11: has fields that nobody knows, and null for every optional one', () =>
    withTensorDock({}, async ({ rent, get, emulator, call }) => {
      const id = await rent();
      const usual = await get(id);
      emulator.setKnobs({ everyOptionalNull: true });
      const poor = await get(id);
      const inventory = await call('GET', 'locations');

      expect(usual).toMatchObject({ suspendedReason: null, _rev: 3, resources: { vcpu_count: 8 } });
      expect(poor).toMatchObject({ resources: null, rateHourly: null, image: null, status: 'running', id });
      expect(inventory.text).toContain('"displayName":null');
    }));

  it('changes single fields of an answer on demand, on a list too', () =>
    withTensorDock({}, async ({ emulator, list }) => {
      await emulator.plant('a');
      emulator.injectFault({ kind: 'patch', path: '/instances$', patch: { data: { status: 'defrosting' } } });

      expect(await list()).toMatchObject([{ status: 'defrosting', name: 'a' }]);
    }));
});

describe('secrets', () => {
  it('keeps them, tells their values one by one, and gives one as the key of an instance', () =>
    withTensorDock({}, async ({ call, rent, emulator }) => {
      const { publicKey } = generateSshKeyPair('k');
      const attributes = { name: 'k1', value: publicKey, type: 'SSHKEY' };
      const made = await call('POST', 'secrets', { data: { type: 'secret', attributes } });
      const id = /"id":"([\w-]+)"/.exec(made.text)?.[1] ?? '';
      const rented = await rent({ ssh_key: undefined, ssh_key_id: id });
      emulator.advance(BOOTED_MS);

      const listed = { data: { secrets: [{ type: 'SSHKEY', id, name: 'k1' }] } };
      expect((await call('GET', 'secrets')).json).toEqual(listed);
      expect((await call('GET', `secrets/${id}`)).json).toMatchObject({ data: { value: publicKey } });
      expect(emulator.instances()).toMatchObject([{ id: rented, authorizedKeys: { user: [publicKey] } }]);
      expect((await call('DELETE', `secrets/${id}`)).status).toBe(200);
      expect((await call('DELETE', `secrets/${id}`)).status).toBe(404);
      expect((await call('PATCH', `secrets/${id}`)).status).toBe(405);
      expect(publicKey).not.toBe(KEY);
    }));
});
