import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { aTag, byMonotonic, uncancelled } from '../../test/support/provider-calls.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import {
  aForwardedOffer,
  aNodeOffer,
  anOffer,
  aProvider,
  API,
  aRequest,
  closeNock,
  failureOf,
  OWN,
  PROBE,
  replyToCreate,
  replyToTokenTest,
  TOKEN,
} from './fixtures/a-provider.ts';
import { badGateway, badToken, created, INSTANCE_ID, LOCATION_ID, NODE_ID, noNodes, noRoute } from './fixtures/bodies.ts';
import { RTX_4090, tooFrequent, validationFaults } from './fixtures/bodies.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

const made = { data: { ...created.data, name: aTag() } };

async function create(overrides: Partial<CreateRequest> = {}, environment: Record<string, string> = {}) {
  const { provider, ...rest } = await aProvider(environment);
  return {
    ...rest,
    outcome: await provider.createInstance(aRequest(overrides), uncancelled).catch((error: unknown) => error),
  };
}

interface Attributes extends Record<string, unknown> {
  readonly cloud_init: { readonly runcmd: readonly string[] };
}

/** What a create sends. */
async function sent(overrides: Partial<CreateRequest> = {}, environment: Record<string, string> = {}) {
  const bodies: { data: { attributes: Attributes } }[] = [];
  nock(API)
    .post('/api/v2/instances', (body: (typeof bodies)[number]) => bodies.push(body) > 0)
    .matchHeader('authorization', `Bearer ${TOKEN}`)
    .reply(201, made);
  const { outcome } = await create(overrides, environment);
  expect(outcome).toEqual({ id: INSTANCE_ID, tag: aTag(), state: 'starting' });
  const [body] = bodies;
  if (body === undefined) throw new Error('nothing was sent');
  return { body, attributes: body.data.attributes, runcmd: body.data.attributes.cloud_init.runcmd };
}

describe('tensordock: the order of a create', () => {
  it('TD-7.2.T3, TD-7.2.T5: sends name, sizes, the key in its field and both keys for both homes, in the one call that creates', async () => {
    const { body, runcmd } = await sent({ diskGb: 200.2 });

    expect(body).toEqual({
      data: {
        type: 'virtualmachine',
        attributes: {
          name: aTag(),
          type: 'virtualmachine',
          image: 'ubuntu2204',
          resources: { vcpu_count: 8, ram_gb: 32, storage_gb: 201, gpus: { [RTX_4090]: { count: 1 } } },
          location_id: LOCATION_ID,
          useDedicatedIp: true,
          ssh_key: OWN,
          cloud_init: { package_update: false, runcmd },
        },
      },
    });
    for (const home of ['/root', '/home/user']) {
      for (const key of [OWN, PROBE])
        expect(runcmd.filter((line) => line.includes(key) && line.endsWith(`>> ${home}/.ssh/authorized_keys`))).toHaveLength(1);
    }
  });

  it('TD-7.2.T4: wishes for a port where a machine has no address of its own', async () => {
    const { attributes } = await sent({ offer: aForwardedOffer });

    expect(attributes).toMatchObject({ port_forwards: [{ internal_port: 22, external_port: 20_000 }], useDedicatedIp: false });
  });

  it('TD-7.2.T10: asks a host node for one of its free ports', async () => {
    const { attributes } = await sent({ offer: aNodeOffer });

    expect(attributes).toMatchObject({
      hostnode_id: NODE_ID,
      port_forwards: [{ internal_port: 22, external_port: 20_010 }],
      useDedicatedIp: false,
    });
    expect(attributes).not.toHaveProperty('location_id');
  });

  it('asks for as many GPUs, cores and memory as the offer was priced with', async () => {
    const { attributes } = await sent({ offer: { ...anOffer, gpuCount: 4, cpuCores: 32, memoryMib: 128 * 1024 }, diskGb: 20 });

    expect(attributes['resources']).toEqual({
      vcpu_count: 32,
      ram_gb: 128,
      storage_gb: 100,
      gpus: { [RTX_4090]: { count: 4 } },
    });
  });

  it('TD-7.2.T6: has the driver looked after, unless the configuration says otherwise', async () => {
    expect((await sent()).runcmd.join('\n')).toContain(' nvidia-driver-550;');
    expect((await sent({}, { TENSORDOCK_DRIVER_PACKAGE: 'nvidia-driver-570-server' })).runcmd.join('\n')).toContain(
      '570-server',
    );
    expect((await sent({}, { TENSORDOCK_DRIVER_PACKAGE: 'none' })).runcmd.join('\n')).not.toContain('nvidia');
  });

  it('takes the image of the request, else that of the configuration', async () => {
    expect((await sent({ image: 'ubuntu2404_ml_pytorch' })).attributes['image']).toBe('ubuntu2404_ml_pytorch');
    expect((await sent({}, { TENSORDOCK_DEFAULT_IMAGE: 'debian12' })).attributes['image']).toBe('debian12');
  });

  it.each<[string, Partial<CreateRequest>]>([
    ['a key of two lines', { sshPublicKeys: [`${OWN}\n${PROBE}`] }],
    ['a key with a quote in its comment', { sshPublicKeys: [`${OWN} it's`, PROBE] }],
    ['a create without a key, which they need', { sshPublicKeys: [] }],
    ['a container image', { image: 'nvidia/cuda:12.6.3' }],
    ['a variable that is none', { environment: { 'A;reboot': '1' } }],
    ['a foreign offer', { offer: { ...anOffer, providerOfferId: '41827365' } }],
    ['an offer whose place is a path', { offer: { ...anOffer, providerOfferId: `location/../${RTX_4090}/ip` } }],
    ['an odd number of cores', { offer: { ...anOffer, cpuCores: 7 } }],
    ['memory that is not sold', { offer: { ...anOffer, memoryMib: 33 * 1024 } }],
    ['a machine without a GPU', { offer: { ...anOffer, gpuCount: 0 } }],
  ])('REL-K9: refuses %s before anything is sent', async (_, overrides) => {
    expect((await create(overrides)).outcome).toMatchObject({ kind: 'rejected', operation: 'CreateInstance' });
  });
});

describe('tensordock: the answer to a create', () => {
  it.each([
    ['creating', { data: { ...made.data, status: 'creating' } }],
    ['provisioning, without a name', { data: { ...made.data, name: null, status: 'provisioning' } }],
    ['in attributes', { data: { type: 'virtualmachine', id: INSTANCE_ID, attributes: { name: aTag(), status: 'Running' } } }],
    ['without data', { ...made.data }],
    ['with an error that is none', { ...made, error: null, errors: [] }],
  ])('TD-7.2.T3: is accepted, and never more than starting: %s', async (_, body) => {
    replyToCreate(200, body);

    expect((await create()).outcome).toEqual({ id: INSTANCE_ID, tag: aTag(), state: 'starting' });
  });

  it.each([
    ['TD-7.2.T1, TD-7.2.T7: 200 with an error', 200, noNodes, 'capacity'],
    ['200 with an error and no status', 200, { error: 'No available nodes found' }, 'capacity'],
    ['a real 400 for want of nodes', 400, { error: 'No available nodes found' }, 'capacity'],
    ['no address left', 200, { status: 400, error: 'No available public IPs on hostnode' }, 'capacity'],
    ['TD-7.2.T10: no ports left', 400, { error: 'No available ports on hostnode' }, 'capacity'],
    ['insufficient capacity', 409, { error: 'Insufficient capacity' }, 'capacity'],
    ['out of stock', 200, { status: 400, error: 'GPU is out of stock' }, 'capacity'],
    ['resource unavailable', 200, { status: 400, error: 'Resource unavailable' }, 'capacity'],
    ['words that nobody knows, under 200', 200, { status: 400, error: 'Node went to lunch' }, 'capacity'],
    ['a location that is gone', 404, { error: 'Location not found' }, 'capacity'],
    ['TD-7.2.T8: half a deployment', 200, { status: 400, error: 'Unexpected error during deployment' }, 'ambiguous'],
    ['half a deployment, as 500', 500, { error: 'Unexpected error during deployment' }, 'ambiguous'],
    ['CONF-C20: a poor account', 200, { status: 400, error: 'You need at least $1.00 to deploy' }, 'funds'],
    ['no balance', 400, { error: 'Insufficient balance' }, 'funds'],
    ['402', 402, '', 'funds'],
    ['a list of faults', 400, validationFaults, 'rejected'],
    ['a list of faults, under 200', 200, validationFaults, 'rejected'],
    ['a list of faults in an error', 422, { error: validationFaults }, 'rejected'],
    ['one fault', 200, { status: 400, error: 'SSH port (22) must be forwarded for Ubuntu VMs' }, 'rejected'],
    ['one fault, as 400', 400, { error: 'vcpu_count is odd' }, 'rejected'],
    ['404 as a page', 404, badGateway, 'protocol'],
    ['404 of the address', 404, noRoute, 'protocol'],
    ['301', 301, '', 'protocol'],
    ['400 as a page', 400, badGateway, 'ambiguous'],
    ['409 in words that nobody knows', 409, { error: 'Name exists' }, 'ambiguous'],
    ['408', 408, '', 'ambiguous'],
    ['500', 500, 'Internal Server Error', 'ambiguous'],
    ['502 as a page', 502, badGateway, 'ambiguous'],
    ['500 in a body of success', 200, { status: 500, error: 'No available nodes found' }, 'ambiguous'],
    ['REL-A5: a limit inside a failed server', 200, { status: 500, error: 'Rate limit exceeded at the node' }, 'ambiguous'],
    ['half a deployment for a limit', 400, { error: 'Unexpected error during deployment: too many requests' }, 'ambiguous'],
    ['a limit and an id', 200, { ...tooFrequent, ...made }, 'ambiguous'],
    ['REL-A5: a deployment that took too long', 200, { status: 400, error: 'Deployment timed out' }, 'ambiguous'],
    ['a deployment that failed, as 400', 400, { error: 'Failed to start: the required image is corrupt' }, 'ambiguous'],
    ['no room in such words', 200, { status: 400, error: 'Deployment failed: no available nodes found' }, 'capacity'],
    ['an error in words that nobody knows, without a status', 200, { error: 'Hm' }, 'ambiguous'],
    ['REL-A6: an empty id', 200, { data: { ...made.data, id: '' } }, 'ambiguous'],
    ['CONF-C21: no id', 200, { data: { type: 'virtualmachine', status: 'running' } }, 'ambiguous'],
    ['an id that is none', 200, { data: { ...made.data, id: '../../x' } }, 'ambiguous'],
    ['an id of another name', 200, { data: { ...made.data, name: aTag(9) } }, 'ambiguous'],
    ['an error and an id', 200, { ...noNodes, ...made }, 'ambiguous'],
    ['success and nothing else', 204, '', 'ambiguous'],
    ['half an answer', 200, '{"data": {"type": "virtualmach', 'ambiguous'],
    ['a page for people', 200, badGateway, 'ambiguous'],
    ['null', 200, 'null', 'ambiguous'],
  ] as const)('%s is %s: %s', async (_, status, body, kind) => {
    replyToCreate(status, body);

    const { outcome } = await create();

    expect(outcome).toMatchObject({ name: 'ProviderError', provider: 'tensordock', kind, operation: 'CreateInstance' });
    expect((outcome as Error).message).toMatch(/^create instance at tensordock: [^{<\n]{5,120}$/);
  });

  it.each([
    ['401', 401, badToken],
    ['plain text', 401, 'Unauthorized'],
    ['403 in these words', 403, badToken],
    ['200 with 401', 200, { status: 401, error: 'Invalid API credentials' }],
  ])('CONF-C19: a token that is refused everywhere is auth (%s)', async (_, status, body) => {
    replyToCreate(status, body);
    replyToTokenTest(401, badToken);

    expect((await create()).outcome).toMatchObject({ kind: 'auth', message: expect.not.stringContaining(TOKEN) as string });
  });

  it('a good token that may not create is auth, and is not tested', async () => {
    replyToCreate(403, { error: 'Forbidden' });
    const test = replyToTokenTest(200, { success: true });

    expect((await create()).outcome).toMatchObject({ kind: 'auth', message: expect.stringContaining('not allowed') as string });
    expect(test.isDone()).toBe(false);
  });

  it('PEER-10.18: a burst of refusals of a good token made nothing, and is no matter of the token', async () => {
    replyToCreate(401, badToken);
    replyToTokenTest(200, { success: true });

    expect((await create()).outcome).toMatchObject({ kind: 'unavailable' });
  });

  it('REL-A5: a server that fails in the words of a refused token may have made something, however good the token is', async () => {
    replyToCreate(500, { error: 'Unauthorized: the node refused the image' });
    replyToTokenTest(200, { success: true });

    expect((await create()).outcome).toMatchObject({ kind: 'ambiguous' });
  });

  it('takes an id that is a number', async () => {
    replyToCreate(200, { data: { ...made.data, id: 90_210 } });

    expect((await create()).outcome).toEqual({ id: '90210', tag: aTag(), state: 'starting' });
  });

  it('PEER-10.18: takes the refusal for what it says when the token cannot be tested', async () => {
    replyToCreate(401, badToken);
    replyToTokenTest(502, badGateway);
    expect((await create()).outcome).toMatchObject({ kind: 'auth' });

    replyToCreate(401, badToken);
    nock(API).post('/api/v2/auth/test').replyWithError({ code: 'ECONNRESET' });
    expect((await create()).outcome).toMatchObject({ kind: 'auth' });
  });

  it.each([
    ['429', 429, tooFrequent],
    ['429 in a body of success', 200, { status: 429, error: 'Rate limit exceeded. Please try again later.' }],
    ['the words alone', 200, tooFrequent],
  ])('CONF-C6: %s made nothing, and is waited out', async (_, status, body) => {
    replyToCreate(status, body);

    expect((await create()).outcome).toMatchObject({ kind: 'rate_limited', retryAfterMs: 15_000 });
  });

  it.each([
    ['CONF-C3: reset', 'ECONNRESET', 'ambiguous'],
    ['CONF-C4: nobody there', 'ECONNREFUSED', 'unavailable'],
    ['no name', 'ENOTFOUND', 'unavailable'],
  ])('%s', async (_, code, kind) => {
    nock(API)
      .post('/api/v2/instances')
      .replyWithError(Object.assign(new Error(`at ${API}`), { code }));

    expect((await create()).outcome).toMatchObject({ kind });
  });

  it('TD-7.2.T8: is waited for two minutes, then unknown, and not sent again', async () => {
    let calls = 0;
    nock(API)
      .post('/api/v2/instances', () => (calls += 1) > 0)
      .delay(300_000)
      .reply(200, made);
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    let outcome: unknown;
    const creating = failureOf(provider.createInstance(aRequest(), uncancelled)).then((error) => (outcome = error));
    while (calls === 0) await clock.settle();

    await clock.advance(119_000);
    expect(outcome).toBeUndefined();
    await clock.advance(1_000);

    expect(await creating).toMatchObject({ kind: 'ambiguous' });
    expect(calls).toBe(1);
    expect(provider.capabilities.createTimeoutMs).toBeGreaterThan(120_000);
  });

  it('RULE-R11: is not asked for when its deadline passed while it waited its turn', async () => {
    const { provider, clock } = await aProvider();

    const late = aRequest({ notAfter: byMonotonic(clock.monotonicMs() - 1) });

    expect(await failureOf(provider.createInstance(late, uncancelled))).toMatchObject({ kind: 'unavailable' });
  });

  it('REL-L1: lets no token, key or word of theirs into what is thrown or logged', async () => {
    replyToCreate(400, [{ code: 'custom', message: `bad args ${TOKEN} ${OWN}`, path: [] }]);

    const { outcome, log } = await create();

    const text = JSON.stringify([outcome, String(outcome), String((outcome as Error).cause), log.entries]);
    expect(text).not.toMatch(/s3cret|bad args|BBBB/);
  });
});
