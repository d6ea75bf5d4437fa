import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { account, badGateway, badKey, moved, noSuchInstance, retired, runningRecord } from './fixtures/bodies.ts';
import { vastai } from './index.ts';
import {
  API,
  KEY,
  PROBE,
  OWN,
  aProvider,
  failureOf,
  replyToGet,
  replyToDelete,
  replyWithCredit,
  id,
  closeNock,
} from './fixtures/a-provider.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('vastai: destroy', () => {
  const destroy = async () => (await aProvider()).provider.destroyInstance(id, uncancelled);

  it.each([
    ['success', 200, { success: true }],
    ['an empty object', 200, {}],
    ['an empty body', 200, ''],
    ['404', 404, noSuchInstance],
    ['404 not_found', 404, { success: false, error: 'not_found' }],
    ['200 and false', 200, { success: false, error: 'no_such_instance', msg: 'No such instance.' }],
  ])('CONF-C16: after %s it is gone only when a read says so', async (_, status, body) => {
    replyToDelete(status, body);
    replyToGet(200, { instances: null });
    replyToDelete(status, body);
    replyToGet(200, { instances: runningRecord });
    replyToDelete(status, body);
    replyToGet(502, badGateway);

    expect(await destroy()).toBe('gone');
    expect(await destroy()).toBe('destroying');
    expect(await destroy()).toBe('destroying');
  });

  it.each([
    ['V30: 429', 429, 'API requests too frequent', 'rate_limited'],
    ['500', 500, '', 'unavailable'],
    ['404 auth_error', 404, badKey, 'auth'],
    ['false without words', 200, { success: false }, 'unavailable'],
    ['a page for people', 200, badGateway, 'unavailable'],
    ['301', 301, moved, 'protocol'],
    ['410', 410, retired, 'protocol'],
    ['another 404', 404, 'nothing here', 'protocol'],
  ])('CONF-C16: %s is no destroy', async (_, status, body, kind) => {
    replyToDelete(status, body);

    expect(await failureOf(destroy())).toMatchObject({ kind, operation: 'DestroyInstance' });
  });

  it('CONF-C16: a destroy without an answer is to be repeated', async () => {
    nock(API).delete('/api/v0/instances/33918204/').replyWithError({ code: 'ECONNRESET' });

    expect(await failureOf(destroy())).toMatchObject({ kind: 'unavailable' });
  });

  it('CONF-C19: says that the key went bad in between', async () => {
    replyToDelete(200, { success: true });
    replyToGet(404, badKey);

    expect(await failureOf(destroy())).toMatchObject({ kind: 'auth' });
  });
});

describe('vastai: SSH keys', () => {
  const path = '/api/v0/instances/33918204/ssh/';
  const attach = async () => (await aProvider()).provider.ensureSshKeys?.(id, [OWN, `${PROBE}\n`], uncancelled);
  const replyToKeys = (keys: readonly object[]) =>
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify(keys) });

  it('V17, V27: attaches those that are missing from a list that is text', async () => {
    replyToKeys([{ id: 8812, public_key: OWN.replace('me@home', 'other comment'), deleted_at: null }]);
    const attached = nock(API).post(path, { ssh_key: PROBE }).reply(200, { success: true, msg: 'SSH key added to instance.' });

    await attach();

    expect(attached.isDone()).toBe(true);
  });

  it('does nothing more when both are there, under either name', async () => {
    replyToKeys([
      { id: 1, public_key: OWN },
      { id: 2, key: PROBE },
    ]);

    await expect(attach()).resolves.toBeUndefined();
  });

  it('attaches both when the list is a 404, odd or unavailable', async () => {
    for (const [status, body] of [
      [404, { success: false, error: 'not_found' }],
      [200, '{"success": true, "ssh_keys": "[{"}'],
      [500, ''],
    ] as const) {
      nock(API).get(path).reply(status, body);
      const attached = nock(API).post(path).times(2).reply(200, { success: true });

      await attach();

      expect(attached.isDone()).toBe(true);
    }
  });

  it('V17: has patience with an attach that fails, since it may have happened', async () => {
    replyToKeys([{ id: 1, public_key: OWN }]);
    nock(API).post(path).reply(500, { success: false, error: 'server_error' });
    nock(API).post(path).replyWithError({ code: 'ECONNRESET' });
    nock(API).post(path).reply(200, { success: true });
    await attach();

    replyToKeys([]);
    nock(API).post(path).times(3).reply(500);
    expect(await failureOf(attach() as Promise<void>)).toMatchObject({ kind: 'unavailable', operation: 'AttachSSHKey' });
  });

  it.each([
    ['no instance', 404, noSuchInstance, 'rejected'],
    ['a wrong key', 404, badKey, 'auth'],
    ['200 and false', 200, noSuchInstance, 'rejected'],
  ])('gives up at once for %s', async (_, status, body, kind) => {
    replyToKeys([]);
    nock(API).post(path).reply(status, body);

    expect(await failureOf(attach() as Promise<void>)).toMatchObject({ kind });
  });
});

describe('vastai: taking keys back', () => {
  const path = '/api/v0/instances/33918204/ssh/';
  const forget = async () => (await aProvider()).provider.removeSshKeys?.(id, [PROBE], uncancelled);

  it('deletes the key that was named, by the id under which it is kept, and no other', async () => {
    const kept = [
      { id: 8812, public_key: OWN },
      { id: 8813, key: PROBE },
    ];
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify(kept) });
    const deletion = nock(API).delete(`${path}8813/`).reply(404, { success: false, error: 'no_such_ssh_key' });

    await forget();

    expect(deletion.isDone()).toBe(true);
  });

  it('has nothing to do where none is kept', async () => {
    nock(API).get(path).reply(404, { success: false, error: 'no_such_instance' });

    await expect(forget()).resolves.toBeUndefined();
  });

  it('says so when it could not', async () => {
    nock(API)
      .get(path)
      .reply(200, { success: true, ssh_keys: JSON.stringify([{ id: 8813, public_key: PROBE }]) });
    nock(API).delete(`${path}8813/`).reply(500, { success: false, error: 'delete_ssh_from_instance' });

    expect(await failureOf(forget())).toMatchObject({ kind: 'unavailable', operation: 'DetachSSHKey' });
  });
});

describe('vastai: account', () => {
  const replyToList = (status: number, body: nock.Body) => nock(API).get('/api/v1/instances/').query(true).reply(status, body);
  const check = async () => (await aProvider()).provider.check(uncancelled);
  const good = { success: true, instances: [], next_token: null, total_instances: 0 };

  it('reads the credit in micro-dollars', async () => {
    replyWithCredit(47.2083);
    const { provider } = await aProvider();

    expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
  });

  it('passes when key, scopes, endpoints and credit are there', async () => {
    replyWithCredit(1);
    replyToList(200, good);

    await expect(check()).resolves.toBeUndefined();
  });

  it.each<[string, () => void, string, RegExp]>([
    ['key wrong', () => nock(API).get('/api/v0/users/current/').reply(404, badKey), 'auth', /VASTAI_API_KEY/],
    [
      'scope missing',
      () => nock(API).get('/api/v0/users/current/').reply(403, { msg: 'permission' }),
      'auth',
      /scope \(user_read\)/,
    ],
    [
      'scope of the list missing',
      () => (replyWithCredit(1), replyToList(403, { msg: 'permission' })),
      'auth',
      /scope \(instance_read\)/,
    ],
    ['endpoint retired', () => (replyWithCredit(1), replyToList(410, retired)), 'protocol', /retired/],
    ['no credit', () => (replyWithCredit(0), replyToList(200, good)), 'funds', /no credit/],
    ['rate limited', () => nock(API).get('/api/v0/users/current/').reply(429, ''), 'rate_limited', /too many requests/],
    ['another address', () => nock(API).get('/api/v0/users/current/').reply(404, '<html>'), 'protocol', /VASTAI_BASE_URL/],
    [
      'an odd answer',
      () => nock(API).get('/api/v0/users/current/').reply(200, { credit: 'much' }),
      'protocol',
      /cannot be read/,
    ],
    ['down', () => nock(API).get('/api/v0/users/current/').reply(503, ''), 'unavailable', /server failed/],
  ])('has a plain verdict: %s', async (_, reply, kind, words) => {
    reply();

    expect(await failureOf(check())).toMatchObject({
      kind,
      operation: 'Check',
      message: expect.stringMatching(words) as string,
    });
  });
});

describe('vastai: configuration', () => {
  it('is on when it has a key', () => {
    const isOn = (environment: Record<string, string>) =>
      vastai.isOn(vastai.environment.parse(environment), { otherIsOn: false });

    expect(isOn({})).toBe(false);
    expect(isOn({ VASTAI_API_KEY: ' ' })).toBe(false);
    expect(isOn({ VASTAI_API_KEY: KEY })).toBe(true);
  });

  it.each(['', '/', '/api/v0', '/api/v0/', '/api/v1/', '/api', '/market', '/market/api/v0/'])(
    'finds the API behind "%s"',
    async (path) => {
      const base = 'http://127.0.0.1:4010';
      const prefix = path.startsWith('/market') ? '/market' : '';
      nock(base).get(`${prefix}/api/v0/users/current/`).reply(200, account);
      const { provider } = await aProvider({ VASTAI_BASE_URL: `${base}${path}` });

      expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
      expect(provider.capabilities.privateAddresses).toBe(true);
    },
  );

  it.each([
    [{ VASTAI_BASE_URL: 'http://market.example' }, 'VASTAI_BASE_URL', /VASTAI_ALLOW_PLAIN_HTTP/],
    [{ VASTAI_BASE_URL: 'market.example' }, 'VASTAI_BASE_URL', /URL/],
    [{ VASTAI_API_KEY: 'two words and more' }, 'VASTAI_API_KEY', /printable/],
    [{ VASTAI_MIN_RELIABILITY: '95' }, 'VASTAI_MIN_RELIABILITY', /0 to 1/],
    [{ VASTAI_DEFAULT_IMAGE: '-x' }, 'VASTAI_DEFAULT_IMAGE', /image/],
    [{ VASTAI_OFFERS_PER_SEARCH: '0' }, 'VASTAI_OFFERS_PER_SEARCH', /1 to 5000/],
  ])('refuses %o by name', (environment, variable, words) => {
    const issues = vastai.environment.safeParse({ VASTAI_API_KEY: KEY, ...environment }).error?.issues ?? [];

    expect(issues).toMatchObject([{ path: [variable], message: expect.stringMatching(words) as string }]);
    expect(JSON.stringify(issues)).not.toMatch(/s3cret|two words/);
  });

  it('sends the key over plain HTTP only when that is allowed, and says so loudly', async () => {
    nock('http://market.example').get('/api/v0/users/current/').reply(200, account);

    const { provider, log } = await aProvider({ VASTAI_BASE_URL: 'http://market.example', VASTAI_ALLOW_PLAIN_HTTP: 'true' });

    expect(await provider.balance?.(uncancelled)).toBe(47_208_300);
    expect(log.messages('warn')).toEqual(['the API key travels unencrypted to another machine']);
    expect(provider.capabilities.privateAddresses).toBe(false);
  });
});
