import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aTag, uncancelled } from '../../test/support/provider-calls.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { account, badGateway, badKey, moved, noSuchInstance, retired, runningRecord } from './fixtures/bodies.ts';
import { API, aProvider, failureOf, replyToGet, replyWithCredit, id, closeNock } from './fixtures/a-provider.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('vastai: one instance', () => {
  async function get(...bodies: object[]) {
    const { provider, clock } = await aProvider();
    let instance;
    for (const body of bodies) {
      replyToGet(200, { instances: body });
      instance = await provider.getInstance(id, uncancelled);
    }
    return { instance, provider, clock };
  }

  it('V20: is running, with the direct way first, then the proxy, and bears the tag of its label', async () => {
    const { instance } = await get({ ...runningRecord, label: aTag(7) });

    expect(instance).toEqual({
      id: '33918204',
      tag: aTag(7),
      priceMicrosPerHour: 356_700,
      state: 'running',
      ssh: {
        user: 'root',
        routes: [
          { host: '203.0.113.47', port: 40_118 },
          { host: 'ssh7.vast.ai', port: 18_204 },
        ],
      },
    });
  });

  it('finds the tag in the variables when somebody changed the label, and takes no other text for one', async () => {
    const renamed = { ...runningRecord, label: 'my training', extra_env: [['BERTH_TAG', aTag(3)]] };

    expect((await get(renamed)).instance?.tag).toBe(aTag(3));
    expect((await get({ ...runningRecord, label: 'my training' })).instance).not.toHaveProperty('tag');
  });

  it.each([
    ['an array, as older servers', { instances: [runningRecord] }],
    ['an id as text', { instances: { ...runningRecord, id: '33918204' } }],
  ])('reads %s', async (_, body) => {
    replyToGet(200, body);
    const { provider } = await aProvider();

    expect(await provider.getInstance(id, uncancelled)).toMatchObject({ id: '33918204', state: 'running' });
  });

  it('CONF-C12, V16: has only the ways that it was told of', async () => {
    const proxyOnly = (await get({ ...runningRecord, ports: null })).instance;
    const directOnly = (await get({ ...runningRecord, ssh_host: null, ssh_port: null })).instance;

    expect(proxyOnly).toMatchObject({ ssh: { routes: [{ host: 'ssh7.vast.ai', port: 18_204 }] } });
    expect(directOnly).toMatchObject({ ssh: { routes: [{ host: '203.0.113.47', port: 40_118 }] } });
    expect((await get({ ...runningRecord, ports: {}, ssh_host: 'a b', ssh_port: 99_999 })).instance).toMatchObject({
      state: 'starting',
    });
  });

  const stopped = { intended_status: 'stopped', cur_state: 'stopped', next_state: 'stopped' };
  const oci =
    'Error response from daemon: failed to create task: OCI runtime create failed: failed to inject CDI devices: unresolvable CDI devices D.33918204';
  it.each<[string, object, object]>([
    ['no report yet', { actual_status: null, ports: null }, { state: 'starting', priceMicrosPerHour: 10_000 }],
    ['created', { actual_status: 'created' }, { state: 'starting' }],
    ['V14: loading', { actual_status: 'loading', status_msg: 'Pulling layers 7/19', ports: {} }, { state: 'starting' }],
    [
      'loading with package names',
      { actual_status: 'loading', status_msg: 'Unpacking libgpg-error0 (1.4)\nSetting up liberror-perl' },
      { state: 'starting' },
    ],
    ['scheduling', { actual_status: 'scheduling' }, { state: 'starting' }],
    [
      'CONF-C11, V15: OCI text',
      { actual_status: 'created', ...stopped, status_msg: oci },
      { state: 'failed', reason: expect.stringContaining('OCI') as string },
    ],
    [
      'error while loading',
      { actual_status: 'loading', status_msg: 'Error: something' },
      { state: 'failed', reason: expect.stringContaining('error') as string },
    ],
    ['failed while loading', { actual_status: 'loading', status_msg: 'docker pull failed' }, { state: 'failed' }],
    [
      'no such tag',
      { actual_status: 'loading', status_msg: 'manifest unknown' },
      { state: 'failed', reason: 'the image has no such tag' },
    ],
    [
      'no such image',
      { actual_status: 'loading', status_msg: 'pull access denied for x' },
      { state: 'failed', reason: expect.stringContaining('not public') as string },
    ],
    ['unauthorized', { actual_status: 'loading', status_msg: 'unauthorized: authentication required' }, { state: 'failed' }],
    [
      'full disk',
      { actual_status: null, status_msg: 'write: no space left on device' },
      { state: 'failed', reason: expect.stringContaining('full') as string },
    ],
    [
      'too many pulls',
      { actual_status: 'loading', status_msg: 'toomanyrequests: rate limit' },
      { state: 'failed', reason: expect.stringContaining('pulls') as string },
    ],
    ['error text while running', { status_msg: 'error: old' }, { state: 'running' }],
    ['rebooting', { actual_status: 'rebooting' }, { state: 'starting' }],
    ['restarting', { actual_status: 'restarting' }, { state: 'starting' }],
    ['recycling', { actual_status: 'recycling' }, { state: 'starting' }],
    [
      'exited',
      { actual_status: 'exited' },
      { state: 'failed', reason: 'the container ended by itself', priceMicrosPerHour: 10_000 },
    ],
    ['stopped', { actual_status: 'stopped' }, { state: 'failed' }],
    ['frozen', { actual_status: 'frozen' }, { state: 'failed' }],
    [
      'CONF-C14: outbid, picture (a)',
      { actual_status: 'exited', is_bid: true },
      { state: 'paused', priceMicrosPerHour: 10_000 },
    ],
    ['CONF-C14, V13: outbid, picture (b)', { actual_status: 'loading', ...stopped, is_bid: true }, { state: 'paused' }],
    [
      'V12: given up by the host',
      { actual_status: 'exited', ...stopped },
      { state: 'failed', reason: expect.stringContaining('host') as string, priceMicrosPerHour: 10_000 },
    ],
    ['stopped while running', { ...stopped }, { state: 'failed' }],
    [
      'all three stopped but no wish told',
      { ...stopped, intended_status: null, actual_status: 'loading' },
      { state: 'failed' },
    ],
    ['offline', { actual_status: 'offline' }, { state: 'starting' }],
    ['unknown', { actual_status: 'unknown' }, { state: 'starting' }],
    ['CONF-C24: an unheard-of word', { actual_status: 'defragmenting' }, { state: 'starting' }],
    [
      'fields of odd forms',
      { actual_status: 7, label: 5, ports: 'none', gpu_util: 'x', ssh_port: '18204', extra_env: 3 },
      { state: 'starting' },
    ],
  ])('%s', async (_, change, expected) => {
    nock(API).get('/api/v0/users/current/').optionally().reply(200, account);

    expect((await get({ ...runningRecord, ...change })).instance).toMatchObject(expected);
  });

  it.each([
    ['outbid', { actual_status: 'exited', is_bid: true }],
    ['given up', { ...stopped }],
  ])('V29, V32: blames an empty account before it blames others (%s)', async (_, change) => {
    replyWithCredit(0);

    const { instance } = await get({ ...runningRecord, ...change });

    expect(instance).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('credit') as string,
      fault: 'funds',
    });
  });

  it('fails when its host has not answered for ten minutes, and not when it did in between', async () => {
    const offline = { ...runningRecord, actual_status: 'offline' };
    const { provider, clock } = await get(offline);
    const look = async (body: object) => {
      replyToGet(200, { instances: body });
      return (await provider.getInstance(id, uncancelled))?.state;
    };
    await clock.advance(9 * 60_000);
    expect(await look(offline)).toBe('starting');
    expect(await look(runningRecord)).toBe('running');
    expect(await look(offline)).toBe('starting');

    await clock.advance(10 * 60_000);

    expect(await look(offline)).toBe('failed');
  });

  it('CONF-C23: tells utilisation only from a report that is new', async () => {
    const first = { ...runningRecord, gpu_util: 0 };
    const second = { ...first, uptime_mins: 59.1 };
    const { instance, provider, clock } = await get(first, second);
    const sampledAt = clock.now();

    expect(instance?.utilisation).toEqual({ gpuPercent: 0, cpuPercent: 12.4, sampledAt: expect.any(Number) as number });
    await clock.advance(60_000);
    replyToGet(200, { instances: second });
    const again = await provider.getInstance(id, uncancelled);
    expect(again?.utilisation?.sampledAt).toBeLessThanOrEqual(sampledAt);
    expect((await get(first)).instance).not.toHaveProperty('utilisation');
    expect((await get(first, { ...second, actual_status: 'offline' })).instance).not.toHaveProperty('utilisation');
  });

  it.each([
    ['null', null],
    ['-1', -1],
  ])('CONF-C23: takes %s for unknown, not for idle', async (_, value) => {
    const { instance } = await get(runningRecord, { ...runningRecord, gpu_util: value, cpu_util: value, uptime_mins: 60 });

    expect(instance).toMatchObject({ state: 'running' });
    expect(instance).not.toHaveProperty('utilisation');
  });

  it.each([
    ['null', 200, { instances: null }],
    ['an empty object', 200, {}],
    ['404', 404, noSuchInstance],
    ['404 not_found', 404, { success: false, error: 'not_found', msg: 'No such instance.' }],
    ['200 and refused', 200, noSuchInstance],
    ['an empty array', 200, { instances: [] }],
  ])('says of %s that it does not exist', async (_, status, body) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await provider.getInstance(id, uncancelled)).toBeUndefined();
  });

  it.each([
    ['CONF-C19, V25: 404 auth_error', 404, badKey, 'auth'],
    ['V25: the words of both', 404, { ...badKey, msg: 'No such instance of this user' }, 'auth'],
    ['401', 401, badKey, 'auth'],
    ['403', 403, { success: false, error: 'auth_error', msg: 'This action requires login.' }, 'auth'],
    ['a 404 without their words', 404, '', 'protocol'],
    ['a 404 of a proxy', 404, '<html>404 Not Found</html>', 'protocol'],
    ['V1: 410', 410, retired, 'protocol'],
    ['V1: 301', 301, moved, 'protocol'],
    ['V2: an empty string', 200, '""', 'protocol'],
    ['an empty body', 200, '', 'protocol'],
    ['an empty list', 200, '[]', 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['another key', 200, { message: 'hello' }, 'protocol'],
    ['a refusal without words', 200, { success: false }, 'protocol'],
    ['another instance', 200, { instances: { ...runningRecord, id: 5 } }, 'protocol'],
    ['a record without id', 200, { instances: { actual_status: 'running' } }, 'protocol'],
    ['half an answer', 200, '{"instances": {"id": 33918204', 'protocol'],
    ['500', 500, '', 'unavailable'],
    ['502', 502, badGateway, 'unavailable'],
    ['429', 429, 'API requests too frequent', 'rate_limited'],
  ])('never takes %s for its end', async (_, status, body, kind) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await failureOf(provider.getInstance(id, uncancelled))).toMatchObject({ kind, operation: 'GetInstanceStatus' });
  });
});

describe('vastai: many at once', () => {
  it('CONF-C29, V34: looks a crowd of instances up in a list, and only what that lacks one by one', async () => {
    const record = (nth: number) => ({ ...runningRecord, id: nth });
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .reply(200, { instances: [3, 4, 5, 6].map(record), next_token: null });
    nock(API)
      .get('/api/v1/instances/')
      .query(true)
      .reply(200, { instances: [3, 4, 5, 6].map(record), next_token: null });
    for (const nth of [1, 2, 7]) replyToGet(200, { instances: record(nth) }, nth);
    const { provider } = await aProvider();

    const found = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7].map((nth) => provider.getInstance(instanceId(String(nth)), uncancelled)),
    );

    expect(found.map((instance) => instance?.id)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(nock.isDone()).toBe(true);
  });
});

describe('vastai: all instances', () => {
  const page = (ids: readonly number[], next: string | null | undefined, more: object = {}) => ({
    success: true,
    instances: ids.map((each) => ({ id: each, label: aTag(each % 100), actual_status: 'loading' })),
    ...(next !== undefined && { next_token: next }),
    ...more,
  });
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const replyToList = (cursor: string | undefined, body: nock.Body, status = 200) =>
    nock(API)
      .get('/api/v1/instances/')
      .query((query) => query['after_token'] === cursor && query['limit'] === '25')
      .reply(status, body);
  const list = async () => (await aProvider()).provider.listInstances(uncancelled);

  it('CONF-C9: reads all pages, whoever owns what is on them', async () => {
    const foreign = { id: 99, label: null, actual_status: 'exited', is_bid: true };
    replyToList(undefined, page(range(1, 25), 'c1', { total_instances: 61 }));
    replyToList('c1', page(range(26, 50), 'c2', { total_instances: 61 }));
    const last = page(range(51, 60), null, { total_instances: 61 });
    replyToList('c2', { ...last, instances: [...last.instances, foreign] });

    const instances = await list();

    expect(instances).toHaveLength(61);
    expect(instances[0]).toEqual({ id: '1', tag: aTag(1), state: 'starting' });
    expect(instances[60]).toEqual({ id: '99', state: 'paused' });
  });

  it('is empty only when it says so', async () => {
    replyToList(undefined, { success: true, instances: [], total_instances: 0, next_token: null });

    expect(await list()).toEqual([]);
  });

  it('bears a list without cursor or totals', async () => {
    replyToList(undefined, page([1, 2], undefined));

    expect(await list()).toHaveLength(2);
  });

  it.each([
    ['V1, V3: 410', 410, retired, 'protocol'],
    ['V1: 301 with JSON', 301, moved, 'protocol'],
    ['a moved body with 200', 200, moved, 'protocol'],
    ['V2: an empty string', 200, '""', 'protocol'],
    ['null', 200, { instances: null }, 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['half a page', 200, '{"instances": [{"id": 1}', 'protocol'],
    ['a refusal with a list', 200, { success: false, instances: [] }, 'protocol'],
    ['a row without id', 200, { instances: [{ id: 1 }, { label: 'x' }] }, 'protocol'],
    ['a row that is none', 200, { instances: [{ id: 1 }, null] }, 'protocol'],
    ['a full page without cursor or totals', 200, page(range(1, 25), undefined), 'protocol'],
    ['fewer rows than it has', 200, page(range(1, 25), null, { total_instances: 40 }), 'protocol'],
    ['CONF-C19, V25: 404 auth_error', 404, badKey, 'auth'],
    ['404', 404, { error: 'not_found' }, 'protocol'],
    [
      'a bad query',
      400,
      { error: 'invalid_request', msg: 'Error in query parameters: dph_total is not a valid search key' },
      'rejected',
    ],
    ['403', 403, { msg: 'no permission' }, 'auth'],
    ['500', 500, '', 'unavailable'],
    ['429', 429, '', 'rate_limited'],
  ])('CONF-C8: %s is no list', async (_, status, body, kind) => {
    replyToList(undefined, body, status);

    expect(await failureOf(list())).toMatchObject({ kind, operation: 'ListAllInstances' });
  });

  it.each([
    ['the second page fails', () => replyToList('c1', badGateway, 502), 'unavailable'],
    ['the second page is another thing', () => replyToList('c1', moved), 'protocol'],
    ['the cursor goes round', () => replyToList('c1', page(range(26, 50), 'c1')), 'protocol'],
  ])('CONF-C8: is thrown whole when %s', async (_, reply, kind) => {
    replyToList(undefined, page(range(1, 25), 'c1'));
    reply();

    expect(await failureOf(list())).toMatchObject({ kind });
  });

  it('begins anew, once, when its cursor is refused', async () => {
    const refusal = { success: false, error: 'invalid_token', msg: 'Invalid pagination token' };
    replyToList(undefined, page(range(1, 25), 'c1'));
    replyToList('c1', refusal, 400);
    replyToList(undefined, page(range(1, 25), 'c2'));
    replyToList('c2', page([26], null));
    expect(await list()).toHaveLength(26);

    for (const cursor of ['c3', 'c4']) {
      replyToList(undefined, page(range(1, 25), cursor));
      replyToList(cursor, refusal, 400);
    }
    expect(await failureOf(list())).toMatchObject({ kind: 'protocol' });
  });
});
