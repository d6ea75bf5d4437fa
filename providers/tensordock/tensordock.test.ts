import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import {
  aProvider,
  API,
  aRequest,
  closeNock,
  failureOf,
  id,
  replyToDelete,
  replyToGet,
  replyToList,
  TOKEN,
} from './fixtures/a-provider.ts';
import { badGateway, badToken, deleted, INSTANCE_ID, notFound, runningRecord, tooFrequent } from './fixtures/bodies.ts';
import { tensordock } from './index.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('tensordock: check', () => {
  const check = async () => (await aProvider()).provider.check(uncancelled);

  it('passes when the instances can be listed', async () => {
    nock(API)
      .get('/api/v2/instances')
      .matchHeader('authorization', `Bearer ${TOKEN}`)
      .matchHeader('user-agent', 'berth')
      .reply(200, { data: [] });

    await expect(check()).resolves.toBeUndefined();
  });

  it.each([
    ['token wrong', 401, badToken, 'auth', /TENSORDOCK_API_TOKEN/],
    ['not allowed', 403, { error: 'Forbidden' }, 'auth', /not allowed/],
    ['rate limited', 429, tooFrequent, 'rate_limited', /too many requests/],
    ['another address', 404, '<html>', 'protocol', /TENSORDOCK_BASE_URL/],
    ['an odd answer', 200, { instances: 7 }, 'protocol', /cannot be read/],
    ['down', 503, badGateway, 'unavailable', /server failed/],
  ] as const)('has a plain verdict: %s', async (_, status, body, kind, words) => {
    replyToList(status, body);

    expect(await failureOf(check())).toMatchObject({
      kind,
      operation: 'Check',
      message: expect.stringMatching(words) as string,
    });
  });
});

describe('CONF-C6, REL-B17: tensordock: the pace of its calls', () => {
  it('waits for as long as it is told, however that is said, and never for longer than the minute that they count by', async () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    const waits = [
      [{ 'retry-after': '25' }, 25_000],
      [{ 'x-ratelimit-reset': '40' }, 40_000],
      [{ 'x-ratelimit-reset': String(now / 1_000 + 50) }, 50_000],
      [{ 'x-ratelimit-reset': '99999999999' }, 60_000],
      [{ 'x-ratelimit-reset': 'soon', 'x-ratelimit-remaining': '0' }, 15_000],
      [{}, 15_000],
    ] as const;
    for (const [headers, retryAfterMs] of waits) {
      nock(API).get('/api/v2/instances').reply(429, tooFrequent, headers);
      const { provider } = await aProvider({}, new FakeClock());

      expect(await failureOf(provider.listInstances(uncancelled))).toMatchObject({ kind: 'rate_limited', retryAfterMs });
    }
  });

  it('holds back everything but destroys after a refusal; reads sit it out, others are told for how long', async () => {
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    nock(API).get('/api/v2/instances').reply(429, tooFrequent, { 'retry-after': '60' });
    await failureOf(provider.listInstances(uncancelled));

    const waiting = replyToGet(200, runningRecord);
    const reading = provider.getInstance(id, uncancelled);
    expect(await failureOf(provider.listOffers({}, uncancelled))).toMatchObject({ kind: 'rate_limited', retryAfterMs: 60_000 });
    expect(await failureOf(provider.createInstance(aRequest(), uncancelled))).toMatchObject({ kind: 'rate_limited' });
    const destroy = replyToDelete(429, tooFrequent);
    expect(await failureOf(provider.destroyInstance(id, uncancelled))).toMatchObject({
      kind: 'rate_limited',
      retryAfterMs: 15_000,
    });

    expect([destroy.isDone(), waiting.isDone()]).toEqual([true, false]);
    await clock.advance(60_000);
    expect(await reading).toMatchObject({ state: 'running' });
  });

  it('holds back destroys only after one of their own was refused', async () => {
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    replyToDelete(429, tooFrequent);
    await failureOf(provider.destroyInstance(id, uncancelled));
    const next = replyToDelete(200, deleted);
    replyToGet(404, notFound);

    const destroying = provider.destroyInstance(id, uncancelled);
    await clock.advance(14_000);
    expect(next.isDone()).toBe(false);
    await clock.advance(1_000);

    expect(await destroying).toBe('gone');
  });

  it('TD-7.2.T8: waits two minutes for an answer to whatever it asks', async () => {
    let calls = 0;
    nock(API)
      .get(`/api/v2/instances/${INSTANCE_ID}`)
      .reply(() => {
        calls += 1;
        return new Promise(() => {});
      });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    let outcome: unknown;
    const asking = failureOf(provider.getInstance(id, uncancelled)).then((error) => (outcome = error));
    while (calls === 0) await clock.settle();

    await clock.advance(119_000);
    expect(outcome).toBeUndefined();
    await clock.advance(1_000);

    await asking;
    expect(outcome).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('no answer in time') as string });
  });
});

describe('tensordock: configuration', () => {
  it('is on when it has a token; the Authorization ID changes nothing', () => {
    const isOn = (environment: Record<string, string>) =>
      tensordock.isOn(tensordock.environment.parse(environment), { otherIsOn: false });

    expect(isOn({})).toBe(false);
    expect(isOn({ TENSORDOCK_API_TOKEN: ' ' })).toBe(false);
    expect(isOn({ TENSORDOCK_AUTH_ID: '0b7f2c55-6f0e-4a3c-8d0e-2f1c7f3b9a11' })).toBe(false);
    expect(isOn({ TENSORDOCK_API_TOKEN: TOKEN })).toBe(true);
  });

  it.each(['', '/', '/api/v2', '/api/v2/', '/api/v0/', '/api', '/market', '/market/api/v2/'])(
    'finds the API behind "%s", and sends the Authorization ID to nobody',
    async (path) => {
      const base = 'http://127.0.0.1:4010';
      const prefix = path.startsWith('/market') ? '/market' : '';
      const asked: string[] = [];
      nock(base)
        .get(`${prefix}/api/v2/instances/${INSTANCE_ID}`)
        .reply(200, function () {
          asked.push(JSON.stringify([this.req.path, this.req.headers]));
          return runningRecord;
        });
      const { provider, log } = await aProvider({ TENSORDOCK_BASE_URL: `${base}${path}`, TENSORDOCK_AUTH_ID: 'auth-id-0001' });

      expect(await provider.getInstance(id, uncancelled)).toMatchObject({ state: 'running' });
      expect(asked.join()).not.toContain('auth-id-0001');
      expect(provider.capabilities.privateAddresses).toBe(true);
      expect(log.messages('info')).toEqual(['provider is asked at another address than its own']);
    },
  );

  it.each([
    [{ TENSORDOCK_BASE_URL: 'http://market.example' }, 'TENSORDOCK_BASE_URL', /TENSORDOCK_ALLOW_PLAIN_HTTP/],
    [{ TENSORDOCK_BASE_URL: 'market.example' }, 'TENSORDOCK_BASE_URL', /URL/],
    [{ TENSORDOCK_API_TOKEN: 'two words and more' }, 'TENSORDOCK_API_TOKEN', /printable/],
    [{ TENSORDOCK_AUTH_ID: 'two words and more' }, 'TENSORDOCK_AUTH_ID', /printable/],
    [{ TENSORDOCK_DEFAULT_IMAGE: 'nvidia/cuda' }, 'TENSORDOCK_DEFAULT_IMAGE', /image/],
    [{ TENSORDOCK_DRIVER_PACKAGE: 'nvidia-driver-550; reboot' }, 'TENSORDOCK_DRIVER_PACKAGE', /package/],
    [{ TENSORDOCK_VCPUS_PER_GPU: '1' }, 'TENSORDOCK_VCPUS_PER_GPU', /2 to 256/],
    [{ TENSORDOCK_RAM_GB_PER_GPU: 'all' }, 'TENSORDOCK_RAM_GB_PER_GPU', /2 to 512/],
    [{ TENSORDOCK_LIST_HOSTNODES: 'yes' }, 'TENSORDOCK_LIST_HOSTNODES', /true or false/],
  ])('refuses %o by name', (environment, variable, words) => {
    const issues = tensordock.environment.safeParse({ TENSORDOCK_API_TOKEN: TOKEN, ...environment }).error?.issues ?? [];

    expect(issues).toMatchObject([{ path: [variable], message: expect.stringMatching(words) as string }]);
    expect(JSON.stringify(issues)).not.toMatch(/s3cret|two words/);
  });

  it('sends the token over plain HTTP only when that is allowed, and says so loudly', async () => {
    nock('http://market.example').get('/api/v2/instances').reply(200, { data: [] });

    const { provider, log } = await aProvider({
      TENSORDOCK_BASE_URL: 'http://market.example',
      TENSORDOCK_ALLOW_PLAIN_HTTP: 'true',
    });

    await expect(provider.check(uncancelled)).resolves.toBeUndefined();
    expect(log.messages('warn')).toEqual(['the API token travels unencrypted to another machine']);
    expect(provider.capabilities.privateAddresses).toBe(false);
  });
});
