import { describe, expect, it } from 'vitest';
import type { HttpAnswer } from '../../src/provider/http-client.ts';
import { badGateway, badKey, noSuchInstance, retired, runningRecord } from './fixtures/bodies.ts';
import {
  explain,
  failure,
  mayBeForCredit,
  read,
  saysBadCursor,
  saysNoSuchInstance,
  saysTooFrequent,
  tellStatus,
} from './mapping.ts';
import { InstanceRecord } from './schema.ts';

function answered(status: number, body: unknown = ''): HttpAnswer {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { status, contentType: '', header: () => undefined, text, json: typeof body === 'string' ? undefined : body };
}

const said = (status: number, body?: unknown) => read(answered(status, body));
const toCreate = (status: number, body?: unknown) => explain(said(status, body), 'CreateInstance');
const toOther = (status: number, body?: unknown) => explain(said(status, body), 'ListAllInstances');

const GONE = 'the offer is no longer available';
const NO_CREDIT = 'the account has no credit, or may not spend more';
const KEY_REFUSED = 'the API key was refused (VASTAI_API_KEY)';
const NO_SCOPE = 'the API key is not allowed to do that: it lacks a scope';
const RETIRED = 'the endpoint has been retired; this version of the adapter is too old for the API';
const INVALID = 'the request was refused as invalid';
const MAY_HAVE_HAPPENED = 'the server gave up; it may have happened';

describe('what an answer says', () => {
  it('is found in any of their fields, in lower case', () => {
    expect(said(400, { error: 'Some_Error', msg: 'Two', message: 'Three', detail: 'Four', code: 'Five' })).toEqual({
      status: 400,
      code: '',
      words: 'some_error\ntwo\nthree\nfour\nfive',
      body: 'json',
    });
    expect(said(400, { error: 'invalid_args' })).toEqual({
      status: 400,
      code: 'invalid_args',
      words: 'invalid_args',
      body: 'json',
    });
    expect(said(400, { success: false }).words).toBe('');
  });

  it.each(['invalid args', 'invalid_args1', 'Invalid', '', 'a'.repeat(41)])('has no code in %j', (error) => {
    expect(said(400, { error }).code).toBe('');
  });

  it('has a code of forty letters at most', () => {
    expect(said(400, { error: 'a'.repeat(40) }).code).toBe('a'.repeat(40));
  });

  it('is plain text where it is no JSON, and nothing where it is a page for people or broken JSON', () => {
    expect(said(400, ' No_Such_Ask \n')).toEqual({ status: 400, code: '', words: 'no_such_ask', body: 'text' });
    for (const text of [badGateway, '{"error": "no_such', ' [1, 2', '\n<p>'])
      expect(said(502, text)).toEqual({ status: 502, code: '', words: '', body: 'unreadable' });
    for (const text of ['', ' \n']) expect(said(500, text)).toEqual({ status: 500, code: '', words: '', body: 'none' });
    expect(said(400, 'see <here>').body).toBe('text');
  });

  it('is cut where it is endless', () => {
    expect(said(400, 'x'.repeat(5_000)).words).toHaveLength(4_000);
  });
});

describe('a refused create', () => {
  it.each<[string, number, unknown, string, string, string]>([
    ['the offer went', 200, { error: 'no_such_ask' }, 'offer_gone', 'capacity', GONE],
    ['the offer went', 400, { msg: 'error 404/3603: no_such_ask' }, 'offer_gone', 'capacity', GONE],
    ['the offer went', 404, 'no_such_ask', 'offer_gone', 'capacity', GONE],
    ['the offer went', 410, { error: 'no_such_ask' }, 'offer_gone', 'capacity', GONE],
    ['the offer was withdrawn', 410, { msg: 'error 410/3907: gone' }, 'offer_withdrawn', 'capacity', GONE],
    ['no credit', 200, { error: 'insufficient_credit' }, 'no_funds', 'funds', NO_CREDIT],
    ['no credit', 400, 'Your account lacks credit', 'no_funds', 'funds', NO_CREDIT],
    ['a new account', 403, { error: 'spend_rate_limit' }, 'no_funds', 'funds', NO_CREDIT],
    ['no card', 400, { error: 'missing_billing' }, 'no_funds', 'funds', NO_CREDIT],
    ['no balance', 400, { detail: 'Insufficient balance' }, 'no_funds', 'funds', NO_CREDIT],
    ['no balance', 400, { error: 'insufficient_balance' }, 'no_funds', 'funds', NO_CREDIT],
    [
      'a bid that lost',
      200,
      { msg: 'Bid too low' },
      'bid_lost',
      'ambiguous',
      'the bid was too low; a stopped contract may have been left',
    ],
    [
      'a bid that lost',
      400,
      { msg: 'The contract is stopped' },
      'bid_lost',
      'ambiguous',
      'the bid was too low; a stopped contract may have been left',
    ],
    [
      'a floor that rose',
      200,
      { msg: 'Bid must be at least 0.2' },
      'bid_under_floor',
      'capacity',
      'the lowest bid that the offer takes has risen above ours',
    ],
    [
      'a floor that rose',
      400,
      { msg: 'Bid price must be at least 0.2' },
      'bid_under_floor',
      'capacity',
      'the lowest bid that the offer takes has risen above ours',
    ],
    ['a wrong key', 200, badKey, 'bad_key', 'auth', KEY_REFUSED],
    ['a wrong key', 404, badKey, 'bad_key', 'auth', KEY_REFUSED],
    ['a wrong key', 403, { msg: 'This action requires login.' }, 'bad_key', 'auth', KEY_REFUSED],
    ['a wrong key', 400, { msg: 'Invalid user key' }, 'bad_key', 'auth', KEY_REFUSED],
    ['a wrong key that says nothing', 401, '', 'bad_key_401', 'auth', KEY_REFUSED],
    [
      'an offer for its owner',
      403,
      { msg: 'Offer is not your own' },
      'not_our_own',
      'rejected',
      'this account may not rent that offer',
    ],
    [
      'an offer for its owner',
      403,
      { msg: 'error 403/3586' },
      'not_our_own',
      'rejected',
      'this account may not rent that offer',
    ],
    ['a key without a scope', 403, { error: 'forbidden' }, 'no_scope', 'auth', NO_SCOPE],
    ['a key without a scope', 403, 'forbidden', 'no_scope', 'auth', NO_SCOPE],
    ['a key without a scope', 403, '', 'no_scope', 'auth', NO_SCOPE],
    ['an endpoint that is no more', 410, retired, 'retired', 'protocol', RETIRED],
    ['a server that gave up', 408, '', 'late', 'ambiguous', MAY_HAVE_HAPPENED],
    ['a server that gave up', 425, '', 'late', 'ambiguous', MAY_HAVE_HAPPENED],
    ['a server that gave up', 499, '', 'late', 'ambiguous', MAY_HAVE_HAPPENED],
    [
      'a virtual machine',
      400,
      { error: 'no_ssh_key_for_vm' },
      'vm_key',
      'rejected',
      'a virtual machine needs an SSH key on the account',
    ],
    ['a price out of range', 400, { error: 'invalid_price' }, 'price', 'rejected', 'the bid is out of range'],
    ['a price out of range', 400, { msg: 'the bid price is odd' }, 'price', 'rejected', 'the bid is out of range'],
    ['a long label', 400, { error: 'label_too_long' }, 'label', 'rejected', 'the label is too long'],
    ['a template', 400, { msg: 'no such template' }, 'template', 'rejected', 'the template was refused'],
    ['a disk', 400, { msg: 'Invalid args: disk must be at least 8' }, 'disk', 'rejected', 'the disk size was refused'],
    ['an image', 400, { msg: 'bad image name' }, 'image', 'rejected', 'the image was refused'],
    ['words that merely hold disk and image', 400, { msg: 'diskette, imaginary' }, 'invalid', 'rejected', INVALID],
    ['any other words', 422, { msg: 'bad' }, 'invalid', 'rejected', INVALID],
    ['a text', 400, 'bad', 'invalid', 'rejected', INVALID],
    ['nothing', 400, '', 'invalid', 'rejected', INVALID],
    [
      'a page for people',
      404,
      badGateway,
      'unreadable',
      'protocol',
      'the answer cannot be read; is VASTAI_BASE_URL the address of the API?',
    ],
    [
      'a page for people that forbids',
      403,
      badGateway,
      'unreadable',
      'protocol',
      'the answer cannot be read; is VASTAI_BASE_URL the address of the API?',
    ],
  ])('by %s (%i %j) is %s: %s', (_, status, body, rule, kind, why) => {
    expect(toCreate(status, body)).toEqual({ rule, kind, why });
  });

  it.each<[string, number, unknown]>([
    [
      'a failure of the server, whatever words are in it',
      500,
      { error: 'no_such_ask', msg: 'credit, bid too low, auth_error' },
    ],
    ['a success that says nothing', 200, { success: false, error: 'invalid_args' }],
    ['a redirect', 301, { message: 'moved' }],
  ])('means nothing by %s', (_, status, body) => {
    expect(toCreate(status, body)).toBeUndefined();
  });
});

describe('a refusal of any other call', () => {
  it.each<[string, number, unknown, string, string, string]>([
    ['a wrong key', 200, badKey, 'bad_key', 'auth', KEY_REFUSED],
    ['a wrong key, which can come as 404', 404, badKey, 'bad_key', 'auth', KEY_REFUSED],
    ['an endpoint that is no more', 410, '', 'retired', 'protocol', RETIRED],
    ['an endpoint that is no more, under another status', 400, retired, 'retired_text', 'protocol', RETIRED],
    ['an endpoint that is no more, under success', 200, retired, 'retired_text', 'protocol', RETIRED],
    ['a wrong key that says nothing', 401, '', 'bad_key_401', 'auth', KEY_REFUSED],
    ['a key without a scope', 403, { error: 'forbidden' }, 'no_scope', 'auth', NO_SCOPE],
    ['a cursor', 200, { error: 'invalid_token' }, 'bad_cursor', 'protocol', 'the cursor of the list was refused'],
    ['a cursor', 400, { error: 'invalid_token' }, 'bad_cursor', 'protocol', 'the cursor of the list was refused'],
    ['no credit', 200, { error: 'insufficient_credit' }, 'no_funds', 'funds', 'the account has no credit'],
    ['no credit', 402, { error: 'insufficient_credit' }, 'no_funds', 'funds', 'the account has no credit'],
    ['a failing server', 500, '', 'server', 'unavailable', 'the server failed'],
    ['a failing server', 502, badGateway, 'server', 'unavailable', 'the server failed'],
    ['a server that gave up', 408, '', 'late', 'unavailable', 'the server gave up'],
    ['a server that gave up', 425, '', 'late', 'unavailable', 'the server gave up'],
    ['a server that gave up', 499, '', 'late', 'unavailable', 'the server gave up'],
    [
      'an address that is none',
      404,
      { error: 'not_found' },
      'no_endpoint',
      'protocol',
      'no such endpoint; is VASTAI_BASE_URL the address of the API?',
    ],
    ['a state that forbids it', 409, '', 'busy', 'unavailable', 'not possible in the present state'],
    ['any other words', 400, { msg: 'bad' }, 'invalid', 'rejected', INVALID],
  ])('by %s (%i %j) is %s: %s', (_, status, body, rule, kind, why) => {
    expect(toOther(status, body)).toEqual({ rule, kind, why });
  });

  it.each<[string, number, unknown]>([
    ['a text that nobody knows', 400, 'bad'],
    ['a page that forbids', 403, badGateway],
    ['a success that says nothing', 200, { success: false }],
  ])('means nothing by %s', (_, status, body) => {
    expect(toOther(status, body)).toBeUndefined();
  });
});

describe('an instance that does not exist', () => {
  it.each<[number, unknown, boolean]>([
    [404, noSuchInstance, true],
    [404, { error: 'not_found' }, true],
    [404, 'No such instance', true],
    [404, 'Instance not found', true],
    [200, noSuchInstance, true],
    [299, noSuchInstance, true],
    [404, '', false],
    [404, { ...noSuchInstance, detail: 'auth_error' }, false],
    [404, badKey, false],
    [199, noSuchInstance, false],
    [300, noSuchInstance, false],
    [400, noSuchInstance, false],
    [500, noSuchInstance, false],
  ])('is told by %i %j: %s', (status, body, told) => {
    expect(saysNoSuchInstance(said(status, body))).toBe(told);
  });
});

describe('too many calls', () => {
  it.each<[number, unknown, boolean]>([
    [429, '', true],
    [429, badGateway, true],
    [400, 'API requests too frequent', true],
    [400, { error: 'rate_limit_exceeded' }, true],
    [499, { error: 'search_quota_exceeded' }, true],
    [403, 'Too many requests', true],
    [429, { error: 'spend_rate_limit' }, false],
    [429, badKey, false],
    [399, 'too many requests', false],
    [500, 'too many requests', false],
    [400, 'bad', false],
  ])('are told by %i %j: %s', (status, body, told) => {
    expect(saysTooFrequent(said(status, body))).toBe(told);
  });
});

it('a cursor is refused by its word', () => {
  expect(saysBadCursor(said(400, { error: 'invalid_token' }))).toBe(true);
  expect(saysBadCursor(said(400, { error: 'invalid' }))).toBe(false);
});

it('a failure names the operation and the provider, and keeps of their answer the status and the code', () => {
  const error = failure({
    operation: 'CreateInstance',
    kind: 'capacity',
    why: GONE,
    said: said(404, { error: 'no_such_ask' }),
  });

  expect(error).toMatchObject({
    provider: 'vastai',
    kind: 'capacity',
    message: `create instance at vastai: ${GONE}`,
    cause: { message: 'HTTP 404 no_such_ask' },
  });
  expect(failure({ operation: 'CreateInstance', kind: 'capacity', why: GONE, said: said(500) }).cause).toMatchObject({
    message: 'HTTP 500',
  });
});

describe('the state of an instance', () => {
  const told = (change: Readonly<Record<string, unknown>>) => {
    const record = { ...runningRecord, ...change };
    return tellStatus(InstanceRecord.parse(record));
  };
  const MARKET = 'the market stopped the instance: its host gave it up, its contract ended, or the account ran dry';
  const intended = (actual: unknown, change: object = {}) => ({ actual_status: actual, status_msg: null, ...change });
  const stopped = { intended_status: 'stopped' };
  const untold = { intended_status: null, cur_state: 'stopped', next_state: 'stopped' };

  it.each<[Readonly<Record<string, unknown>>, string, string, string]>([
    [intended('running'), 'running', 'running', ''],
    [intended(' Running '), 'running', 'running', ''],
    [intended(null), 'booting', 'starting', ''],
    [intended(''), 'booting', 'starting', ''],
    [intended('created'), 'booting', 'starting', ''],
    [intended('loading'), 'booting', 'starting', ''],
    [intended('scheduling'), 'booting', 'starting', ''],
    [intended('rebooting'), 'booting again', 'starting', ''],
    [intended('restarting'), 'booting again', 'starting', ''],
    [intended('recycling'), 'booting again', 'starting', ''],
    [intended('exited'), 'ended by itself', 'failed', 'the container ended by itself'],
    [intended('stopped'), 'ended by itself', 'failed', 'the container ended by itself'],
    [intended('frozen'), 'ended by itself', 'failed', 'the container ended by itself'],
    [intended('exited', { is_bid: true }), 'outbid, as told by the host', 'paused', ''],
    [intended('unknown'), 'host does not answer', 'silent', ''],
    [intended('offline'), 'host does not answer', 'silent', ''],
    [intended('hibernating'), 'unheard of', 'starting', ''],
    [intended('running', stopped), 'stopped by the market', 'failed', MARKET],
    [intended('running', { intended_status: 'Stopped' }), 'stopped by the market', 'failed', MARKET],
    [intended('running', untold), 'stopped by the market', 'failed', MARKET],
    [intended('running', { ...untold, next_state: 'running' }), 'running', 'running', ''],
    [intended('running', { ...untold, cur_state: 'running' }), 'running', 'running', ''],
    [intended('running', { ...untold, intended_status: 'running' }), 'running', 'running', ''],
    [intended('loading', { ...stopped, is_bid: true }), 'outbid', 'paused', ''],
    [intended('loading', { ...stopped, is_bid: false }), 'stopped by the market', 'failed', MARKET],
  ])('%j is %s: %s %s', (change, story, becomes, reason) => {
    expect(told(change)).toEqual({ story, becomes, reason });
  });

  it.each([
    ['manifest unknown', 'the image has no such tag'],
    ['Manifest for my/image:9 not found', 'the image has no such tag'],
    ['pull access denied for x', 'the image does not exist or is not public'],
    ['401 unauthorized', 'the image does not exist or is not public'],
    ['unauthorized: authentication required', 'the image does not exist or is not public'],
    ['toomanyrequests: slow down', 'the image registry refused the host: too many pulls'],
    ['write /x: no space left on device', "the host's disk is full"],
    ['OCI runtime create', 'the host could not start the container (OCI runtime or GPU device)'],
    ['unresolvable CDI device', 'the host could not start the container (OCI runtime or GPU device)'],
    ['error: it broke', 'the host reported an error while it started the container'],
    ['it has failed', 'the host reported an error while it started the container'],
  ])('a boot that says %s has failed: %s', (message, reason) => {
    expect(told({ actual_status: 'loading', status_msg: message })).toEqual({
      story: 'broken while booting',
      becomes: 'failed',
      reason,
    });
  });

  it.each([
    'success, running my/image',
    'Unpacking libgpg-error0',
    'terror',
    'errors-on-stage',
    'failed-login-counter',
    'login-failed',
    'failedover',
    'http-unauthorized',
    'unauthorized-keys',
    `manifest for ${'x'.repeat(301)} not found`,
  ])('a boot that says %s goes on', (message) => {
    expect(told({ actual_status: 'loading', status_msg: message }).becomes).toBe('starting');
  });

  it('of one that runs, its host’s words count for nothing, and of one that was stopped, its boot comes first', () => {
    expect(told({ actual_status: 'running', status_msg: 'error' }).becomes).toBe('running');
    expect(told({ actual_status: 'loading', status_msg: 'error', ...stopped }).story).toBe('broken while booting');
    expect(told({ actual_status: 'running', status_msg: 'error', ...stopped }).reason).toBe(MARKET);
  });

  it('its account’s credit has to be looked at where the market stopped it or gave it to another', () => {
    const stories = [
      'outbid',
      'outbid, as told by the host',
      'stopped by the market',
      'ended by itself',
      'not outbid',
      'running',
    ];

    expect(stories.filter((story) => mayBeForCredit({ story, becomes: 'failed', reason: '' }))).toEqual(stories.slice(0, 3));
  });
});
