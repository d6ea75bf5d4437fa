import { describe, expect, it } from 'vitest';
import { httpWorlds, MEMORY } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

describe('GET /health and /ready', () => {
  it('say that all is well, in the words of existing clients and more', async () => {
    const world = await aWorld();

    const health = await world.app.inject('/health');
    const ready = await world.app.inject('/ready');

    expect(health.statusCode).toBe(200);
    expect(health.json()).toMatchObject({
      status: 'ok',
      services: { lifecycle: 'running', inventory: 'ok', ready: 'true' },
      deployment_id: 'test1',
      providers: [{ id: MEMORY, state: 'ok', list_attempted: true }],
    });
    expect(ready.json()).toMatchObject({ ready: true, timestamp: expect.any(String) });
  });

  it.each([
    ['the database takes no writes', { databaseWritable: false }],
    ['a provider was never listed', { providers: [{ id: MEMORY, simulated: false, state: 'starting', listAttempted: false }] }],
  ] as const)('answer 503 while %s', async (_, health) => {
    const world = await aWorld({ health });

    expect((await world.app.inject('/health')).statusCode).toBe(503);
    expect((await world.app.inject('/ready')).json()).toMatchObject({ ready: false });
  });

  it('answer 503 while the broker shuts down', async () => {
    const world = await aWorld();
    world.shutdown.abort(new Error('shutting down'));

    const health = await world.app.inject('/health');

    expect(health.statusCode).toBe(503);
    expect(health.json()).toMatchObject({ status: 'unavailable', services: { lifecycle: 'stopped', ready: 'false' } });
  });

  it('tell of recovery mode, and stay well: but not to strangers', async () => {
    const recovery = { since: 0, cause: 'evidence', reason: 'an instance that nobody knows' } as const;
    const open = await aWorld({ health: { recovery } });
    const closed = await aWorld({ health: { recovery }, keys: { alice: 'alice-key-0123456789' } });

    const health = await open.app.inject('/health');
    const ready = await open.app.inject('/ready');

    expect(health.statusCode).toBe(200);
    expect(health.json()).toMatchObject({
      recovery_mode: { since: '1970-01-01T00:00:00.000Z', cause: 'evidence', reason: 'an instance that nobody knows' },
    });
    expect(ready.json()).toMatchObject({ ready: true, recovery_mode: true });
    for (const path of ['/health', '/ready'])
      expect((await closed.app.inject(path)).json()).not.toHaveProperty('recovery_mode');
  });

  it('take HEAD, as monitors send it', async () => {
    const world = await aWorld();

    expect((await world.app.inject({ method: 'HEAD', url: '/health' })).statusCode).toBe(200);
  });
});

describe('GET /metrics and /docs', () => {
  it('serves the page of the registry as text', async () => {
    const world = await aWorld();

    const answer = await world.app.inject('/metrics');

    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(answer.body).toBe('# HELP up 1\n');
  });

  it('shows the reference so that it works over plain http', async () => {
    const world = await aWorld({ settings: { docsEnabled: true } });

    const page = await world.app.inject('/docs/');
    const document = await world.app.inject('/docs/json');

    expect(page.statusCode).toBe(200);
    expect(page.headers['content-security-policy']).not.toContain('upgrade-insecure-requests');
    expect(page.headers).not.toHaveProperty('strict-transport-security');
    expect(document.json()).toMatchObject({ openapi: '3.1.0' });
  });

  it('keeps the reference to itself when it is switched off', async () => {
    const world = await aWorld();

    expect((await world.app.inject('/docs/')).statusCode).toBe(404);
  });
});

describe('benchmarks', () => {
  it.each([
    ['GET', '/api/v1/benchmarks/best?model=x'],
    ['POST', '/api/v1/benchmark-runs'],
    ['DELETE', '/api/v1/benchmark-schedules/1'],
  ] as const)('%s %s says that it does not exist yet', async (method, url) => {
    const world = await aWorld();

    const answer = await world.app.inject({ method, url });

    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toMatchObject({ error: expect.any(String), request_id: expect.any(String), retry_suggested: false });
    expect(answer.headers).not.toHaveProperty('retry-after');
  });
});

describe('GET /api/v1/offer-health', () => {
  it('tells which offers failed, of which GPU', async () => {
    const world = await aWorld();
    await world.store.write(() =>
      world.offerRepository.recordFailure({
        sessionId: 'ses_00000000000000000000000001',
        ordinal: 1,
        provider: MEMORY,
        offerId: 'memory-ask-1' as never, // a brand is made in src/provider only
        machineId: null,
        gpuType: 'RTX 4090',
        kind: 'stale_inventory',
        reason: 'the offer is gone',
        at: world.clock.now() - 1_000,
      }),
    );

    const answer = await world.app.inject('/api/v1/offer-health');
    const none = await world.app.inject('/api/v1/offer-health?gpu_type=T4');

    expect(answer.json()).toMatchObject({
      count: 1,
      offers: [{ offer_id: 'memory-ask-1', is_suppressed: true, last_failure_type: 'stale_inventory' }],
      gpu_types: [{ gpu_type_key: 'memory:RTX 4090', failed_offer_count: 1, is_degraded: false }],
    });
    expect(none.json()).toMatchObject({ offers: [], count: 0 });
  });
});
