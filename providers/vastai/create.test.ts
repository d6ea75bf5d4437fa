import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { aTag, byMonotonic, uncancelled } from '../../test/support/provider-calls.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { badGateway, badKey, moved, noSuchInstance, retired, tooFrequent } from './fixtures/bodies.ts';
import {
  API,
  KEY,
  PROBE,
  OWN,
  aProvider,
  anOffer,
  aBidOffer,
  aRequest,
  failureOf,
  replyToCreate,
  replyToDelete,
  replyWithCredit,
  closeNock,
} from './fixtures/a-provider.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('vastai: create', () => {
  async function create(overrides: Partial<CreateRequest> = {}) {
    const { provider, ...rest } = await aProvider();
    return {
      ...rest,
      outcome: await provider.createInstance(aRequest(overrides), uncancelled).catch((error: unknown) => error),
    };
  }

  it('V22, V23, REL-K9: sends label, variables as an object and keys as data in the one call that creates', async () => {
    const bodies: Record<string, unknown>[] = [];
    nock(API)
      .put('/api/v0/asks/41827365/', (body: Record<string, unknown>) => bodies.push(body) > 0)
      .matchHeader('authorization', `Bearer ${KEY}`)
      .reply(200, { success: true, new_contract: 33918204, instance_api_key: 'b3f1d0synthetic' });

    const { outcome } = await create({
      environment: { HF_TOKEN: 'x y' },
      onStart: "echo 'hi'",
      diskGb: 40.2,
      image: 'ubuntu:22.04',
    });

    expect(outcome).toEqual({ id: '33918204', tag: aTag(), state: 'starting' });
    const [body] = bodies;
    expect(body).toEqual({
      client_id: 'me',
      image: 'ubuntu:22.04',
      label: aTag(),
      disk: 41,
      env: { HF_TOKEN: 'x y', BERTH_TAG: aTag() },
      runtype: 'ssh_direct',
      onstart: expect.any(String) as string,
      target_state: 'running',
      cancel_unavail: true,
    });
    const script = String(body?.['onstart']);
    expect(script.length).toBeLessThanOrEqual(4_096);
    expect(script).toContain(Buffer.from(`${OWN}\n${PROBE}\n`).toString('base64'));
    expect(script).not.toMatch(/'hi'|ssh-ed25519/);
  });

  it('sends the default image, and a bid only for an interruptible offer', async () => {
    const bodies: Record<string, unknown>[] = [];
    const note = (body: Record<string, unknown>) => bodies.push(body) > 0;
    nock(API).put('/api/v0/asks/41827365/', note).times(2).reply(200, { success: true, new_contract: '33918204' });

    await create();
    await create({ offer: aBidOffer, bidMicrosPerHour: 220_000, maxPriceMicrosPerHour: 400_000 });

    expect(bodies[0]).toMatchObject({ image: 'nvidia/cuda:12.6.3-runtime-ubuntu22.04' });
    expect(bodies[0]).not.toHaveProperty('price');
    expect(bodies[1]).toMatchObject({ price: 0.22 });
  });

  it.each<[string, Partial<CreateRequest>]>([
    ['a variable that would be a flag of docker', { environment: { '-v /:/host': '1' } }],
    ['a key of two lines', { sshPublicKeys: [`${OWN}\n${PROBE}`] }],
    ['an image with a space', { image: 'ubuntu:22.04 --privileged' }],
    [
      'a start script beyond their limit',
      { onStart: Array.from({ length: 900 }, (_, n) => `echo ${(n * 7919) ** 3}`).join('\n') },
    ],
    ['a foreign offer', { offer: { ...anOffer, providerOfferId: '../users/current' } }],
    ['a bid under the floor', { offer: { ...aBidOffer, minBidMicrosPerHour: 250_000 }, bidMicrosPerHour: 249_999 }],
    [
      'a bid that comes to too much with the disk',
      { offer: aBidOffer, bidMicrosPerHour: 240_000, maxPriceMicrosPerHour: 252_499 },
    ],
    ['no bid', { offer: aBidOffer }],
  ])('refuses %s before anything is sent', async (_, overrides) => {
    expect((await create(overrides)).outcome).toMatchObject({ kind: 'rejected', operation: 'CreateInstance' });
  });

  it.each([
    [
      'V4: 400 with 404/3603',
      400,
      {
        success: false,
        error: 'invalid_args',
        msg: 'error 404/3603: no_such_ask  Instance type by id 41827365 is not available.',
      },
      'capacity',
    ],
    [
      '410 with no_such_ask',
      410,
      {
        success: false,
        error: 'no_such_ask',
        msg: 'error 410/3907: no_such_ask Instance type 41827365 is no longer available.',
      },
      'capacity',
    ],
    ['404 with no_such_ask', 404, { success: false, msg: 'no_such_ask' }, 'capacity'],
    ['200 with no_such_ask', 200, { success: false, error: 'no_such_ask' }, 'capacity'],
    ['400 as plain text', 400, 'no_such_ask', 'capacity'],
    [
      'CONF-C20, V29: no credit',
      400,
      { success: false, error: 'insufficient_credit', msg: 'Your account lacks credit; see the billing page.' },
      'funds',
    ],
    ['V29: no credit, as text', 400, 'Your account lacks credit', 'funds'],
    ['no credit, in detail', 400, { detail: 'Insufficient balance' }, 'funds'],
    ['no card', 400, { error: 'missing_billing' }, 'funds'],
    ['411', 411, { success: false, msg: 'Insufficient credit' }, 'funds'],
    ['a new account', 403, { success: false, error: 'spend_rate_limit' }, 'funds'],
    ['a new account, as 429', 429, { success: false, error: 'spend_rate_limit' }, 'funds'],
    ['V25: 404 auth_error', 404, badKey, 'auth'],
    ['401', 401, badKey, 'auth'],
    ['no header', 403, { success: false, error: 'auth_error', msg: 'This action requires login.' }, 'auth'],
    ['a key without scope', 403, { success: false, error: 'forbidden', msg: 'Missing permission' }, 'auth'],
    ['a host account', 403, { success: false, msg: 'error 403/3586: Offer 41827365 is not your own' }, 'rejected'],
    [
      'bad arguments',
      400,
      { success: false, error: 'invalid_args', msg: 'error 400/3467: Invalid args: disk must be at least 8', ask_id: 41827365 },
      'rejected',
    ],
    [
      'a virtual machine',
      400,
      { success: false, error: 'no_ssh_key_for_vm', msg: 'VM instances need an SSH key on the account.' },
      'rejected',
    ],
    ['a bad price', 400, { success: false, error: 'invalid_price' }, 'rejected'],
    ['a long label', 400, { success: false, error: 'label_too_long' }, 'rejected'],
    ['483', 483, { success: false, error: 'invalid_args', msg: 'Invalid json_body' }, 'rejected'],
    ['V26: 410 of the endpoint', 410, retired, 'protocol'],
    ['404 as a page', 404, '<html>Not here</html>', 'protocol'],
    ['301', 301, moved, 'protocol'],
    ['408', 408, '', 'ambiguous'],
    ['500', 500, { success: false, msg: 'no_such_ask' }, 'ambiguous'],
    ['502', 502, badGateway, 'ambiguous'],
    ['V8: 200 without id or text', 200, { success: false }, 'ambiguous'],
    ['200 with an unknown text', 200, { success: false, error: 'invalid_args', msg: 'something' }, 'ambiguous'],
    ['success without id', 200, { success: true }, 'ambiguous'],
    ['an id without success', 200, { new_contract: 33918204 }, 'ambiguous'],
    ['half an answer', 200, '{"success": true, "new_cont', 'ambiguous'],
    ['an empty answer', 200, '', 'ambiguous'],
  ])('%s is %s: %s', async (_, status, body, kind) => {
    replyToCreate(status, body);

    const { outcome } = await create();

    expect(outcome).toMatchObject({ name: 'ProviderError', provider: 'vastai', kind, operation: 'CreateInstance' });
    expect((outcome as Error).message).toMatch(/^create instance at vastai: [^{<\n]{5,120}$/);
  });

  it.each([
    [0, 'funds'],
    [12, 'rejected'],
  ])('V29: asks for the credit (%d) when a 400 is empty', async (credit, kind) => {
    replyToCreate(400);
    replyWithCredit(credit);

    expect((await create()).outcome).toMatchObject({ kind });
  });

  it.each(tooFrequent)('V6: waits at least 12 s after $body', async ({ body, leastMs }) => {
    replyToCreate(429, body);

    expect((await create()).outcome).toMatchObject({ kind: 'rate_limited', retryAfterMs: Math.max(12_000, leastMs) });
  });

  it('V6: honours Retry-After and retry_after where there is one', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(429, '', { 'retry-after': '25' });
    replyToCreate(429, { error: 'rate_limit_exceeded', retry_after: 40 });

    expect((await create()).outcome).toMatchObject({ retryAfterMs: 25_000 });
    expect((await create()).outcome).toMatchObject({ retryAfterMs: 40_000 });
  });

  describe('CONF-C5, V8, V9: refused, yet a contract was made', () => {
    const refused = { success: false, error: 'invalid_args', msg: 'Bid too low; contract is stopped.', new_contract: 33918204 };

    it.each([
      [200, refused, 'capacity'],
      [400, refused, 'capacity'],
      [410, { ...refused, error: 'no_such_ask' }, 'capacity'],
      [400, { ...refused, msg: 'insufficient_credit' }, 'funds'],
    ])('is destroyed at once (%d), and then another offer may be tried', async (status, body, kind) => {
      replyToCreate(status, body);
      const destroyed = replyToDelete(200, { success: true });

      expect((await create()).outcome).toMatchObject({ kind });
      expect(destroyed.isDone()).toBe(true);
    });

    it.each([
      ['500', () => replyToDelete(500)],
      ['429', () => replyToDelete(429, 'API requests too frequent')],
      ['a lost answer', () => nock(API).delete('/api/v0/instances/33918204/').replyWithError({ code: 'ECONNRESET' })],
    ])('is ambiguous while its destroy fails with %s', async (_, reply) => {
      replyToCreate(200, refused);
      reply();

      expect((await create()).outcome).toMatchObject({ kind: 'ambiguous' });
    });

    it('needs no destroy that finds nothing', async () => {
      replyToCreate(200, refused);
      replyToDelete(404, noSuchInstance);

      expect((await create()).outcome).toMatchObject({ kind: 'capacity' });
    });
  });

  it.each([
    ['CONF-C3: reset', 'ECONNRESET', 'ambiguous'],
    ['CONF-C4: nobody there', 'ECONNREFUSED', 'unavailable'],
    ['no name', 'ENOTFOUND', 'unavailable'],
  ])('%s', async (_, code, kind) => {
    nock(API)
      .put('/api/v0/asks/41827365/')
      .replyWithError(Object.assign(new Error(`at ${API}`), { code }));

    expect((await create()).outcome).toMatchObject({ kind });
  });

  it('V33, CONF-C3: a create without an answer in 30 s is ambiguous, and is not sent again', async () => {
    let calls = 0;
    nock(API)
      .put('/api/v0/asks/41827365/', () => (calls += 1) > 0)
      .delay(60_000)
      .reply(200, {});
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    const outcome = failureOf(provider.createInstance(aRequest(), uncancelled));
    while (calls === 0) await clock.settle();

    await clock.advance(30_000);

    expect(await outcome).toMatchObject({ kind: 'ambiguous' });
    expect(calls).toBe(1);
  });

  it('RULE-R11: does not send a create whose deadline passed while it waited its turn', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(400, { error: 'no_such_ask' });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    await failureOf(provider.createInstance(aRequest(), uncancelled));

    const late = failureOf(
      provider.createInstance(aRequest({ notAfter: byMonotonic(clock.monotonicMs() + 2_000) }), uncancelled),
    );
    await clock.advance(6_000);

    expect(await late).toMatchObject({ kind: 'unavailable' });
  });

  it('V5: lies 4.5 s and a margin behind the one before, and nothing was made when it is cancelled before that', async () => {
    nock(API).put('/api/v0/asks/41827365/').reply(400, { error: 'no_such_ask' });
    const clock = new FakeClock();
    const { provider } = await aProvider({}, clock);
    await failureOf(provider.createInstance(aRequest(), uncancelled));
    const abort = new AbortController();

    const cancelled = failureOf(provider.createInstance(aRequest(), { signal: abort.signal }));
    await clock.settle();
    expect(clock.nextWakeInMs).toBeCloseTo(5_175);
    abort.abort();

    expect(await cancelled).toMatchObject({ kind: 'unavailable' });
  });

  it('puts no key and no word of theirs into what it throws or logs', async () => {
    replyToCreate(400, { error: 'invalid_args', msg: `bad args api_key=${KEY}` });

    const { outcome, log } = await create();

    expect(JSON.stringify([outcome, String(outcome), String((outcome as Error).cause), log.entries])).not.toMatch(
      /s3cret|bad args/,
    );
  });
});
