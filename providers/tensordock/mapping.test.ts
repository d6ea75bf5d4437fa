import { describe, expect, it } from 'vitest';
import type { HttpAnswer } from '../../src/provider/http-client.ts';
import { badGateway, badToken, noNodes, noRoute, notFound, tooFrequent, validationFaults } from './fixtures/bodies.ts';
import { failure, meaningOf, read, refused, saysBadToken, saysDone, saysNoSuchInstance, saysTooFrequent } from './mapping.ts';

function answered(status: number, body: unknown = ''): HttpAnswer {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { status, contentType: '', header: () => undefined, text, json: typeof body === 'string' ? undefined : body };
}

const said = (status: number, body?: unknown) => read(answered(status, body));

/** Kind and reason of a refused call, as the caller has them. */
function refusal(operation: 'CreateInstance' | 'ListAllInstances', status: number, body?: unknown) {
  const { kind, message } = refused(said(status, body), { operation, otherwise: 'unavailable' });
  return { kind, why: message.slice(message.indexOf(': ') + 2) };
}

const UNREAD = { kind: 'unavailable', why: 'the answer cannot be read' };
const LOW = "the account's balance is too low";
const GONE = 'the offer is no longer available';
const TOKEN_REFUSED = 'the API token was refused (TENSORDOCK_API_TOKEN)';
const NOT_ALLOWED = 'the API token is not allowed to do that';
const NO_ENDPOINT = 'no such endpoint; is TENSORDOCK_BASE_URL the address of the API?';
const INVALID = 'the request was refused as invalid';
const BROKE_OFF = 'the deployment broke off; it may have happened';
const NOT_NOW = 'not possible in the present state';

describe('what an answer says', () => {
  it('is its complaint, in lower case, under the status that stands in the body of a success', () => {
    expect(said(200, noNodes)).toEqual({
      status: 400,
      isHidden: true,
      isValidation: false,
      words: 'no available nodes found',
      body: 'json',
    });
    expect(said(200, { error: 'Oops' })).toMatchObject({ status: 200, isHidden: true });
    expect(said(299, noNodes).isHidden).toBe(true);
  });

  it('keeps the status of HTTP where that is an error itself', () => {
    expect(said(503, noNodes)).toMatchObject({ status: 503, isHidden: false });
    expect(said(300, noNodes)).toMatchObject({ status: 300, isHidden: false });
    expect(said(199, noNodes)).toMatchObject({ status: 199, isHidden: false });
  });

  it('is plain text where it is no JSON, and nothing where it is a page for people or broken JSON', () => {
    expect(said(400, ' Insufficient Funds \n')).toEqual({
      status: 400,
      isHidden: false,
      isValidation: false,
      words: 'insufficient funds',
      body: 'text',
    });
    for (const text of [badGateway, '{"error": "ins', ' [1', '\n<p>'])
      expect(said(400, text)).toMatchObject({ words: '', body: 'unreadable' });
    for (const text of ['', ' \n']) expect(said(400, text)).toMatchObject({ words: '', body: 'none' });
    expect(said(400, 'see <here>').body).toBe('text');
    expect(said(400, 'x'.repeat(5_000)).words).toHaveLength(4_000);
  });

  it('is that it is done where the status is one of success and nothing is complained of', () => {
    expect([199, 200, 204, 299, 300, 404].map((status) => saysDone(said(status)))).toEqual([
      false,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(saysDone(said(200, noNodes))).toBe(false);
  });
});

describe('a refused create', () => {
  const HALF_WAY = 'the deployment failed half-way; it may have happened';
  it.each<[number, unknown, string, string]>([
    [400, { error: 'Unexpected error during deployment' }, 'ambiguous', HALF_WAY],
    [200, { error: 'Unexpected error during deployment: insufficient funds' }, 'ambiguous', HALF_WAY],
    [500, { error: 'insufficient funds' }, 'ambiguous', 'the server failed; it may have happened'],
    [502, badGateway, 'ambiguous', 'the server failed; it may have happened'],
    [408, { error: 'insufficient funds' }, 'ambiguous', 'the server gave up; it may have happened'],
    [425, '', 'ambiguous', 'the server gave up; it may have happened'],
    [499, '', 'ambiguous', 'the server gave up; it may have happened'],
    [200, { error: 'You need at least $1 to deploy' }, 'funds', LOW],
    [400, { error: 'Insufficient funds' }, 'funds', LOW],
    [400, { error: 'Insufficient credit' }, 'funds', LOW],
    [400, { error: 'Insufficient credits' }, 'funds', LOW],
    [400, { error: 'credits too low' }, 'funds', LOW],
    [400, { error: 'credit too low' }, 'funds', LOW],
    [400, { error: 'not enough credit' }, 'funds', LOW],
    [400, { error: 'not enough credits' }, 'funds', LOW],
    [400, { error: 'not enough funds' }, 'funds', LOW],
    [400, { error: 'Your credits are too low' }, 'funds', LOW],
    [400, { error: 'Your credit is insufficient' }, 'funds', LOW],
    [400, { error: 'credits not enough' }, 'funds', LOW],
    [400, { error: 'not enough balance' }, 'funds', LOW],
    [400, { error: 'please check your balance' }, 'funds', LOW],
    [402, '', 'funds', LOW],
    [200, noNodes, 'capacity', GONE],
    [400, { error: 'No available node' }, 'capacity', GONE],
    [400, { error: 'No available nodes' }, 'capacity', GONE],
    [400, { error: 'No available public IPs' }, 'capacity', GONE],
    [400, { error: 'No available GPU' }, 'capacity', GONE],
    [400, { error: 'No available GPUs' }, 'capacity', GONE],
    [400, { error: 'No available port' }, 'capacity', GONE],
    [400, { error: 'No available ports' }, 'capacity', GONE],
    [400, { error: 'No available external port' }, 'capacity', GONE],
    [400, { error: 'No available external ports' }, 'capacity', GONE],
    [400, { error: 'No available resource' }, 'capacity', GONE],
    [400, { error: 'No available resources' }, 'capacity', GONE],
    [400, { error: 'No available host nodes' }, 'capacity', GONE],
    [400, { error: 'No available hostnodes' }, 'capacity', GONE],
    [400, { error: 'insufficient resource' }, 'capacity', GONE],
    [400, { error: 'insufficient resources' }, 'capacity', GONE],
    [400, { error: 'insufficient GPU' }, 'capacity', GONE],
    [400, { error: 'insufficient GPUs' }, 'capacity', GONE],
    [400, { error: 'sold out' }, 'capacity', GONE],
    [400, { error: 'resources are unavailable' }, 'capacity', GONE],
    [400, { error: 'not enough GPU' }, 'capacity', GONE],
    [400, { error: 'not enough resource' }, 'capacity', GONE],
    [400, { error: 'not enough resources' }, 'capacity', GONE],
    [400, { error: 'not enough vcpus' }, 'capacity', GONE],
    [400, { error: 'not enough ram' }, 'capacity', GONE],
    [400, { error: 'not enough storage' }, 'capacity', GONE],
    [400, { error: 'no ports available' }, 'capacity', GONE],
    [400, { error: 'no port left' }, 'capacity', GONE],
    [400, { error: 'no external port left' }, 'capacity', GONE],
    [400, { error: 'no capacity' }, 'capacity', GONE],
    [200, { error: 'No available nodes' }, 'capacity', GONE],
    [400, { error: 'No available public IP' }, 'capacity', GONE],
    [400, { error: 'No available hostnode' }, 'capacity', GONE],
    [400, { error: 'No available host node' }, 'capacity', GONE],
    [400, { error: 'Insufficient capacity' }, 'capacity', GONE],
    [400, { error: 'out of stock' }, 'capacity', GONE],
    [400, { error: 'Resource is unavailable' }, 'capacity', GONE],
    [400, { error: 'resources unavailable' }, 'capacity', GONE],
    [400, { error: 'not enough GPUs' }, 'capacity', GONE],
    [400, { error: 'not enough vcpu' }, 'capacity', GONE],
    [400, { error: 'no external ports left' }, 'capacity', GONE],
    [400, { error: 'no port available' }, 'capacity', GONE],
    [400, { error: 'the host is under maintenance' }, 'capacity', GONE],
    [401, '', 'auth', TOKEN_REFUSED],
    [400, badToken, 'auth', TOKEN_REFUSED],
    [200, { error: 'Unauthorised' }, 'auth', TOKEN_REFUSED],
    [200, { error: 'Unauthorized' }, 'auth', TOKEN_REFUSED],
    [403, { error: 'forbidden' }, 'auth', NOT_ALLOWED],
    [403, 'forbidden', 'auth', NOT_ALLOWED],
    [403, '', 'auth', NOT_ALLOWED],
    [200, { error: 'Location with id 5 not found' }, 'capacity', GONE],
    [400, { error: 'The hostnode does not exist' }, 'capacity', GONE],
    [404, { error: 'GPU is no longer offered' }, 'capacity', GONE],
    [410, { error: 'GPU model x is not available' }, 'capacity', GONE],
    [404, { error: `location ${'x'.repeat(58)} not found` }, 'capacity', GONE],
    [404, { error: `location ${'x'.repeat(61)} not found` }, 'protocol', NO_ENDPOINT],
    [404, noRoute, 'protocol', NO_ENDPOINT],
    [405, '', 'protocol', NO_ENDPOINT],
    [410, '', 'protocol', NO_ENDPOINT],
    [422, validationFaults, 'rejected', INVALID],
    [200, validationFaults, 'rejected', INVALID],
    [409, { errors: [{ message: 'no' }] }, 'rejected', INVALID],
    [200, { errors: [{ message: 'an unexpected error' }] }, 'rejected', INVALID],
    [400, { error: 'An unexpected error occurred' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'timed out' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'time-out' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'timeout' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'timing out' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'Internal error' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'Internal server error' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'Deployment failed' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'failed to create the VM' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'error while starting' }, 'ambiguous', BROKE_OFF],
    [200, { error: 'vcpu must be even' }, 'rejected', INVALID],
    [400, { error: 'name is required' }, 'rejected', INVALID],
    [400, 'invalid name', 'rejected', INVALID],
    [200, { status: 400, error: 'nobody would take it' }, 'capacity', 'the offer could not be deployed'],
    [400, { error: 'no' }, 'rejected', INVALID],
    [422, { error: 'no' }, 'rejected', INVALID],
  ])('by %i %j is %s: %s', (status, body, kind, why) => {
    expect(refusal('CreateInstance', status, body)).toEqual({ kind, why });
  });

  it.each<[number, unknown]>([
    [200, { error: 'nobody knows' }],
    [403, badGateway],
    [409, { error: 'no' }],
    [400, 'no'],
    [300, { error: 'insufficient funds' }],
    [409, { error: 'mandatory, invalidated' }],
  ])('by %i %j is what the caller takes it for', (status, body) => {
    expect(refusal('CreateInstance', status, body)).toEqual(UNREAD);
  });
});

describe('a refusal of any other call', () => {
  it.each<[number, unknown, string, string]>([
    [401, '', 'auth', TOKEN_REFUSED],
    [200, badToken, 'auth', TOKEN_REFUSED],
    [404, { error: 'Invalid token' }, 'auth', TOKEN_REFUSED],
    [403, { error: 'forbidden' }, 'auth', NOT_ALLOWED],
    [500, '', 'unavailable', 'the server failed'],
    [503, badGateway, 'unavailable', 'the server failed'],
    [408, '', 'unavailable', 'the server gave up'],
    [425, '', 'unavailable', 'the server gave up'],
    [499, '', 'unavailable', 'the server gave up'],
    [409, '', 'unavailable', NOT_NOW],
    [400, { error: 'The instance must be stopped first' }, 'unavailable', NOT_NOW],
    [400, { error: 'already running' }, 'unavailable', NOT_NOW],
    [400, { error: 'it is currently in use' }, 'unavailable', NOT_NOW],
    [400, { error: 'it is currently being moved' }, 'unavailable', NOT_NOW],
    [400, { error: 'it is being stopping' }, 'unavailable', NOT_NOW],
    [400, { error: 'it is starting' }, 'unavailable', NOT_NOW],
    [404, noRoute, 'protocol', NO_ENDPOINT],
    [405, '', 'protocol', NO_ENDPOINT],
    [410, '', 'protocol', NO_ENDPOINT],
    [400, { error: 'no' }, 'rejected', INVALID],
    [422, { error: 'no' }, 'rejected', INVALID],
    [200, { status: 422, error: 'no' }, 'rejected', INVALID],
  ])('by %i %j is %s: %s', (status, body, kind, why) => {
    expect(refusal('ListAllInstances', status, body)).toEqual({ kind, why });
  });

  it.each<[number, unknown]>([
    [200, { error: 'nobody knows' }],
    [400, 'nobody knows'],
    [403, badGateway],
  ])('by %i %j is what the caller takes it for', (status, body) => {
    expect(refusal('ListAllInstances', status, body)).toEqual(UNREAD);
  });

  it('keeps their status in its cause, and says whether it stood in a success', () => {
    const cause = (status: number, body: unknown) =>
      failure({ operation: 'ListAllInstances', kind: 'auth', why: 'no', said: said(status, body) }).cause;

    expect(cause(401, badToken)).toMatchObject({ message: 'HTTP 401' });
    expect(cause(200, noNodes)).toMatchObject({ message: 'HTTP 400 in a body of success' });
    expect(refused(said(401), { operation: 'ListAllInstances', otherwise: 'protocol' })).toMatchObject({
      provider: 'tensordock',
      operation: 'ListAllInstances',
      cause: { message: 'HTTP 401' },
    });
    expect(refused(said(400, 'x'), { operation: 'ListAllInstances', otherwise: 'protocol' })).toMatchObject({
      kind: 'protocol',
      cause: { message: 'HTTP 400' },
    });
  });
});

it.each<[number, unknown, boolean]>([
  [401, '', true],
  [400, badToken, true],
  [403, { error: 'Unauthenticated' }, true],
  [403, { error: 'forbidden' }, false],
])('%i %j refuses the token: %s', (status, body, told) => {
  expect(saysBadToken(said(status, body))).toBe(told);
});

describe('an instance that does not exist', () => {
  it.each<[number, unknown, boolean]>([
    [404, notFound, true],
    [404, '', true],
    [404, { error: 'anything' }, true],
    [404, badGateway, false],
    [404, noRoute, false],
    [404, 'page not found', false],
    [404, 'Cannot GET /api/v2/instances/x', false],
    [404, 'no such endpoint', false],
    [404, badToken, false],
    [400, notFound, true],
    [400, { error: 'Virtual machine with the uuid 0b7f2c55-6f0e not found' }, true],
    [400, { error: "Server id 'a1b2' was not found" }, true],
    [400, { error: 'Machine could not be found' }, true],
    [400, { error: 'VM does not exist' }, true],
    [400, { error: 'virtualmachine not found' }, true],
    [400, { error: 'machine 7 not found' }, true],
    [400, { error: 'instance abc not found' }, false],
    [400, { error: `instance ${'a'.repeat(99)}1${'b'.repeat(99)} not found` }, true],
    [400, { error: 'already terminated' }, true],
    [400, { error: 'it has already been deleted' }, true],
    [400, { error: 'Not found' }, true],
    [400, { error: 'Not found.' }, true],
    [200, { status: 404, error: 'Instance not found' }, true],
    [200, { error: 'Instance not found' }, true],
    [400, { error: 'SSH key not found' }, false],
    [400, { error: 'user not found' }, false],
    [400, { error: 'Not found!' }, false],
    [400, { error: 'it was not found' }, false],
    [400, { error: 'instance is not running' }, false],
    [500, notFound, false],
    [200, { status: 500, error: 'Instance not found' }, false],
    [300, 'instance not found', false],
    [399, 'instance not found', false],
  ])('is told by %i %j: %s', (status, body, told) => {
    expect(saysNoSuchInstance(said(status, body))).toBe(told);
  });
});

describe('too many calls', () => {
  it.each<[number, unknown, boolean]>([
    [429, '', true],
    [429, tooFrequent, true],
    [400, tooFrequent, true],
    [200, { status: 429, error: 'Too many requests' }, true],
    [200, tooFrequent, true],
    [429, { error: 'insufficient funds' }, false],
    [429, badToken, false],
    [429, { error: 'unexpected error during deployment' }, false],
    [500, tooFrequent, false],
    [399, 'too many requests', false],
    [400, { error: 'no' }, false],
  ])('are told by %i %j: %s', (status, body, told) => {
    expect(saysTooFrequent(said(status, body))).toBe(told);
  });
});

describe('the state of an instance', () => {
  it.each([
    ['creating', { becomes: 'starting' }],
    ['provisioning', { becomes: 'starting' }],
    ['starting', { becomes: 'starting' }],
    ['relocating', { becomes: 'starting' }],
    ['running', { becomes: 'running' }],
    ['stopping', { becomes: 'stopping' }],
    ['deleting', { becomes: 'stopping', isBilled: false }],
    ['stopped', { becomes: 'failed', reason: 'the market stopped the instance: its host gave it up, or the account ran dry' }],
    ['stoppeddisassociated', { becomes: 'failed', reason: 'the host stopped the instance and took its GPU back' }],
    ['outbid', { becomes: 'paused' }],
    ['error', { becomes: 'failed', reason: 'the market reports an error of the instance' }],
    ['deleted', { becomes: 'failed', reason: 'the market has ended the instance', isBilled: false }],
    ['terminated', { becomes: 'failed', reason: 'the market has ended the instance', isBilled: false }],
    ['hibernating', { becomes: 'starting' }],
    ['', { becomes: 'starting' }],
    [undefined, { becomes: 'starting' }],
    ['Running', { becomes: 'running' }],
    [' run-n_ing ', { becomes: 'running' }],
    ['Stopped - Disassociated', { becomes: 'failed', reason: 'the host stopped the instance and took its GPU back' }],
    [`outbid${' '.repeat(200)}error`, { becomes: 'paused' }],
  ])('%j is %j', (status, meaning) => {
    expect(meaningOf(status)).toEqual(meaning);
  });
});
