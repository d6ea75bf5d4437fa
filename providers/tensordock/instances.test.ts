import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aTag, uncancelled } from '../../test/support/provider-calls.ts';
import {
  aForwardedOffer,
  aNodeOffer,
  anOffer,
  aProvider,
  aRequest,
  closeNock,
  failureOf,
  id,
  replyToCreate,
  replyToGet,
  replyToList,
} from './fixtures/a-provider.ts';
import { badGateway, badToken, created, INSTANCE_ID, noRoute, notFound, runningRecord } from './fixtures/bodies.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

async function get(body: Record<string, unknown>) {
  replyToGet(200, body);
  const { provider } = await aProvider();
  return provider.getInstance(id, uncancelled);
}

describe('tensordock: one instance', () => {
  it('TD-7.2.T4: runs behind the port that came, for the login of their images, at their rate, with the tag that is its name', async () => {
    expect(await get({ ...runningRecord, name: aTag(7) })).toEqual({
      id: INSTANCE_ID,
      tag: aTag(7),
      priceMicrosPerHour: 468_000,
      state: 'running',
      ssh: { user: 'user', routes: [{ host: '198.51.100.23', port: 20_456 }] },
    });
  });

  it.each([
    ['flat', runningRecord],
    ['in data', { data: runningRecord }],
    ['in attributes', { data: { type: 'virtualmachine', id: INSTANCE_ID, attributes: { ...runningRecord, id: undefined } } }],
    ['in attributes without an id', { data: { attributes: { ...runningRecord, id: undefined } } }],
    [
      'in the other spelling',
      {
        ...runningRecord,
        ipAddress: undefined,
        portForwards: undefined,
        rateHourly: undefined,
        ip_address: '198.51.100.23',
        port_forwards: [{ internalPort: '22', externalPort: '20456' }],
        rate_hourly: '0.468',
      },
    ],
    ['with ports as older servers have them', { ...runningRecord, portForwards: { 20_005: 80, 20_456: '22' } }],
    ['with an id of null', { ...runningRecord, id: null }],
    ['with its attributes null', { data: { ...runningRecord, attributes: { id: null, name: null, status: 'running' } } }],
    ['with fields that nobody knows, and nulls', { ...runningRecord, resources: null, metadata: { x: [null] } }],
    ['with an error of the machine, which is none of the call', { ...runningRecord, error: 'fan 2 is loud' }],
  ])('TD-7.2.T2: is read %s', async (_, body) => {
    expect(await get(body)).toMatchObject({
      id: INSTANCE_ID,
      state: 'running',
      priceMicrosPerHour: 468_000,
      ssh: { routes: [{ host: '198.51.100.23', port: 20_456 }] },
    });
  });

  it.each([
    ['an empty address', { ipAddress: '' }],
    ['no address', { ipAddress: null }],
    ['an address that is none', { ipAddress: 'http://198.51.100.23/' }],
  ])('TD-7.2.T3: is starting while it has %s, whatever its status says', async (_, change) => {
    expect(await get({ ...runningRecord, ...change })).toMatchObject({ state: 'starting' });
  });

  it('TD-7.2.T4: is reached at its own address when no port is told, as after a restart of ours', async () => {
    for (const portForwards of [
      [],
      null,
      [{ internal_port: 80, external_port: 20_080 }],
      [{ internal_port: 22, external_port: 0 }],
    ])
      expect(await get({ ...runningRecord, portForwards })).toMatchObject({
        state: 'running',
        ssh: { routes: [{ host: '198.51.100.23', port: 22 }] },
      });
  });

  it('takes no other name for a tag', async () => {
    expect(await get(runningRecord)).not.toHaveProperty('tag');
    expect(await get({ ...runningRecord, name: `${aTag(7)}x` })).not.toHaveProperty('tag');
  });

  it.each([0, -1, null, 'much', 1e9])('REL-K3: has no rate when theirs is %s', async (rateHourly) => {
    expect(await get({ ...runningRecord, rateHourly })).not.toHaveProperty('priceMicrosPerHour');
  });

  it.each([
    ['creating', 'starting'],
    ['Provisioning', 'starting'],
    ['STARTING', 'starting'],
    ['relocating', 'starting'],
    ['Running', 'running'],
    ['stopping', 'stopping'],
    ['Deleting', 'stopping'],
    ['stopped', 'failed'],
    ['StoppedDisassociated', 'failed'],
    ['stopped_disassociated', 'failed'],
    ['Stopped-Disassociated', 'failed'],
    ['error', 'failed'],
    ['deleted', 'failed'],
    ['TERMINATED', 'failed'],
    ['Outbid', 'paused'],
    ['defragmenting', 'starting'],
    ['', 'starting'],
    [null, 'starting'],
    ['x'.repeat(100_000), 'starting'],
  ])('TD-7.2.T14, CONF-C24: takes their "%s" for %s', async (status, state) => {
    expect(await get({ ...runningRecord, status })).toMatchObject({ state });
  });

  it('TD-7.2.T11, CONF-C14: tells a GPU that was taken back from a machine that stopped', async () => {
    expect(await get({ ...runningRecord, status: 'stoppeddisassociated' })).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('took its GPU back') as string,
      priceMicrosPerHour: 468_000,
    });
  });

  it.each(['deleting', 'Deleted', 'TERMINATED'])('EMU-E17: costs nothing any more once its row says %s', async (status) => {
    expect(await get({ ...runningRecord, status })).toMatchObject({ priceMicrosPerHour: 0 });
  });

  it('TD-7.2.T7: fails at once when it stops right after its create', async () => {
    expect(await get({ ...runningRecord, status: 'stopped' })).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('stopped') as string,
    });
  });

  it.each([
    ['404', 404, notFound],
    ['404 without a body', 404, ''],
    ['404 as text', 404, 'Not found'],
    ['404 in a body of success', 200, { status: 404, error: 'Instance not found' }],
    ['the words in a body of success', 200, { error: 'Virtual machine does not exist' }],
    ['the words with its id', 400, { error: `Instance with id "${INSTANCE_ID}" was not found` }],
  ])('does not exist after %s', async (_, status, body) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await provider.getInstance(id, uncancelled)).toBeUndefined();
  });

  it.each([
    ['401', 401, badToken, 'auth'],
    ['403', 403, { error: 'Forbidden' }, 'auth'],
    ['TD-7.2.T1: 200 with 401', 200, { status: 401, error: 'Invalid API credentials' }, 'auth'],
    ['404 as a page', 404, badGateway, 'protocol'],
    ['404 of the address', 404, noRoute, 'protocol'],
    ['200 with an error', 200, { status: 400, error: 'Something broke' }, 'rejected'],
    ['REL-B6: a failed server', 200, { status: 500, error: 'Internal server error: node record not found' }, 'unavailable'],
    ['REL-B6: another thing not found', 400, { error: 'Instance cannot be read: its host was not found' }, 'rejected'],
    ['an error without a machine', 200, { status: 'error', message: 'Instance not found' }, 'protocol'],
    ['the record of another instance', 200, { ...runningRecord, id: 'another' }, 'protocol'],
    ['an id that is none', 200, { ...runningRecord, id: '../x' }, 'protocol'],
    ['a list', 200, [runningRecord], 'protocol'],
    ['null', 200, 'null', 'protocol'],
    ['no data', 200, { data: null }, 'protocol'],
    ['nothing', 204, '', 'protocol'],
    ['a page for people', 200, badGateway, 'protocol'],
    ['half an answer', 200, '{"id": "0b7f', 'protocol'],
    ['301', 301, '', 'protocol'],
    ['409', 409, { status: 409, error: 'Virtual machine is already running' }, 'unavailable'],
    ['408', 408, '', 'unavailable'],
    ['500', 500, 'Internal Server Error', 'unavailable'],
    ['429', 429, '', 'rate_limited'],
  ] as const)('CONF-C19: cannot be asked for after %s', async (_, status, body, kind) => {
    replyToGet(status, body);
    const { provider } = await aProvider();

    expect(await failureOf(provider.getInstance(id, uncancelled))).toMatchObject({ kind, operation: 'GetInstanceStatus' });
  });
});

describe('TD-7.2.T4, CONF-C22: tensordock: a port that does not come', () => {
  const portless = { ...runningRecord, portForwards: [] };

  async function made(offer = aForwardedOffer) {
    const parts = await aProvider();
    replyToCreate(200, { data: { ...created.data, name: aTag() } });
    await parts.provider.createInstance(aRequest({ offer }), uncancelled);
    const look = async (body: Record<string, unknown> = portless) => {
      replyToGet(200, body);
      return parts.provider.getInstance(id, uncancelled);
    };
    return { ...parts, look };
  }

  it.each([
    ['a location', aForwardedOffer],
    ['a host node', aNodeOffer],
  ])('is waited for, and then the instance has failed, so that it is destroyed: %s', async (_, offer) => {
    const { clock, look } = await made(offer);

    expect(await look({ ...portless, ipAddress: '' })).toMatchObject({ state: 'starting' });
    await clock.advance(600_000); // without an address nothing is missing yet
    expect(await look()).toMatchObject({ state: 'starting' });
    await clock.advance(170_000);
    expect(await look()).toMatchObject({ state: 'starting' });
    await clock.advance(10_000);

    expect(await look()).toMatchObject({ state: 'failed', reason: expect.stringContaining('never opened the port') as string });
  });

  it('may come late', async () => {
    const { clock, look } = await made();
    await look();
    await clock.advance(100_000);

    expect(await look(runningRecord)).toMatchObject({ state: 'running', ssh: { routes: [{ port: 20_456 }] } });
  });

  it('RULE-R15: is not missed any more once it came, however long the record does without it at the same address', async () => {
    const { clock, look } = await made();
    await look();
    await clock.advance(170_000);
    await look(runningRecord);

    for (let looks = 0; looks < 3; looks += 1) {
      await clock.advance(170_000);
      expect(await look()).toMatchObject({ state: 'running', ssh: { routes: [{ host: '198.51.100.23', port: 20_456 }] } });
    }
    expect(await look({ ...portless, ipAddress: '198.51.100.99' })).toMatchObject({ state: 'starting' });
  });

  it('is not missed where an address was asked for', async () => {
    const { look } = await made(anOffer);

    expect(await look()).toMatchObject({ state: 'running', ssh: { routes: [{ port: 22 }] } });
  });
});

describe('TD-7.2.T2: tensordock: a row of the list, which says nothing of ports', () => {
  const { portForwards: _forwards, resources: _resources, ...row } = runningRecord;

  async function shown(...looks: readonly ('get' | 'list')[]) {
    const { provider } = await aProvider();
    replyToCreate(200, { data: { ...created.data, name: aTag() } });
    await provider.createInstance(aRequest({ offer: aForwardedOffer }), uncancelled);
    let last;
    for (const look of looks) {
      if (look === 'get') replyToGet(200, runningRecord);
      else replyToList(200, { data: [row] });
      last =
        look === 'get'
          ? await provider.getInstance(id, uncancelled)
          : (await provider.listInstances(uncancelled)).find(Boolean);
    }
    return last;
  }

  it('is reached as the record of the instance said', async () => {
    expect(await shown('list', 'get', 'list')).toEqual(await shown('get'));
  });

  it('is starting as long as that was not read, and never without its port for too long', async () => {
    const { provider, clock } = await aProvider();
    replyToCreate(200, { data: { ...created.data, name: aTag() } });
    await provider.createInstance(aRequest({ offer: aForwardedOffer }), uncancelled);

    for (let minute = 0; minute < 10; minute += 1) {
      replyToList(200, { data: [row] });
      expect(await provider.listInstances(uncancelled)).toMatchObject([{ state: 'starting' }]);
      await clock.advance(60_000);
    }
  });

  it('is not reached where its address moved', async () => {
    const { provider } = await aProvider();
    replyToGet(200, runningRecord);
    await provider.getInstance(id, uncancelled);
    replyToList(200, { data: [{ ...row, ipAddress: '198.51.100.99' }] });

    expect(await provider.listInstances(uncancelled)).toMatchObject([{ state: 'starting' }]);
  });

  it('that is missing for long is forgotten, and one that is new is not', async () => {
    const { provider, clock } = await aProvider();
    const listedAfter = async (ms: number) => {
      replyToGet(200, runningRecord);
      await provider.getInstance(id, uncancelled);
      await clock.advance(ms);
      replyToList(200, { data: [] });
      await provider.listInstances(uncancelled);
      replyToList(200, { data: [row] });
      return provider.listInstances(uncancelled);
    };

    expect(await listedAfter(60_000)).toMatchObject([{ state: 'running' }]);
    expect(await listedAfter(1_200_000)).toMatchObject([{ state: 'starting' }]);
  });
});

describe('tensordock: the list of instances', () => {
  const list = async () => (await aProvider()).provider.listInstances(uncancelled);

  it.each([
    ['an array', { data: [runningRecord, { id: 'b', name: aTag(2), status: 'Deleted' }] }],
    ['in instances', { data: { instances: [runningRecord, { id: 'b', name: aTag(2), status: 'Deleted' }] } }],
    [
      'in attributes',
      { data: [runningRecord, { type: 'virtualmachine', id: 'b', attributes: { name: aTag(2), status: 'deleted' } }] },
    ],
    ['without data', { instances: [runningRecord, { id: 'b', name: aTag(2), status: 'Deleted' }] }],
    [
      'with a tag beside null attributes',
      { data: [runningRecord, { id: 'b', name: aTag(2), attributes: { name: null, status: 'deleted' } }] },
    ],
    [
      'with an error that is none',
      { data: [runningRecord, { id: 'b', name: aTag(2), status: 'deleted' }], error: 0, errors: {} },
    ],
    ['twice the same', { data: [runningRecord, { id: 'b', name: aTag(2), status: 'deleted' }, runningRecord] }],
  ])('TD-7.2.T2: is whole in every shape, with every state and every name: %s', async (_, body) => {
    replyToList(200, body);

    expect(await list()).toMatchObject([
      { id: INSTANCE_ID, state: 'running' },
      { id: 'b', tag: aTag(2), state: 'failed' },
    ]);
  });

  it('knows machines by ids that are numbers', async () => {
    replyToList(200, { data: [{ ...runningRecord, id: 90_210 }] });

    expect(await list()).toMatchObject([{ id: '90210' }]);
  });

  it.each([{ data: [] }, { data: { instances: [] } }])('is empty when it says so: %o', async (body) => {
    replyToList(200, body);

    expect(await list()).toEqual([]);
  });

  it.each([
    ['TD-7.2.T13: 403', 403, { error: 'Forbidden' }, 'auth'],
    ['401', 401, 'Unauthorized', 'auth'],
    ['TD-7.2.T1: 200 with an error', 200, { status: 500, error: 'Internal error' }, 'unavailable'],
    ['200 with an error and a list', 200, { data: [], error: 'Could not read all' }, 'protocol'],
    ['200 and false', 200, { success: false, data: [] }, 'protocol'],
    ['REL-B1: a page for people', 200, badGateway, 'protocol'],
    ['an empty body', 200, '', 'protocol'],
    ['an empty object', 200, {}, 'protocol'],
    ['a bare list, which is how they tell of faults', 200, [], 'protocol'],
    ['null for a list', 200, { data: null }, 'protocol'],
    ['null for the instances', 200, { data: { instances: null } }, 'protocol'],
    ['a row that is none', 200, { data: [runningRecord, null] }, 'protocol'],
    ['a row without an id', 200, { data: [{ ...runningRecord, id: null }] }, 'protocol'],
    ['half a list', 200, '{"data": [{"id": "0b7f2c55', 'protocol'],
    ['REL-B3: a total that is larger', 200, { data: [runningRecord], meta: { total: 2 } }, 'protocol'],
    ['REL-B3: another page, as a number', 200, { data: [runningRecord], meta: { next_page: 2 } }, 'protocol'],
    ['REL-B3: another page, behind a link', 200, { data: [runningRecord], links: { next: '/instances?page=2' } }, 'protocol'],
    ['REL-B3: more', 200, { data: [runningRecord], has_more: true }, 'protocol'],
    ['REL-B3: several pages', 200, { data: [runningRecord], meta: { total_pages: 3, next: null } }, 'protocol'],
    ['REL-B3: the same row twice instead of two', 200, { data: [runningRecord, runningRecord], total: 2 }, 'protocol'],
    ['an id too large to be read', 200, '{"data": [{"id": 9007199254740993, "name": "x"}]}', 'protocol'],
    ['REL-B3: another page', 200, { data: { instances: [runningRecord], next_page: '2' } }, 'protocol'],
    ['301', 301, '', 'protocol'],
    ['404', 404, '', 'protocol'],
    ['410', 410, '', 'protocol'],
    ['502', 502, badGateway, 'unavailable'],
    ['429', 429, '', 'rate_limited'],
  ] as const)('CONF-C8: is no list: %s', async (_, status, body, kind) => {
    replyToList(status, body);

    expect(await failureOf(list())).toMatchObject({ kind, operation: 'ListAllInstances' });
  });
});
