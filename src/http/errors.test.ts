import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../core/errors.ts';
import { STATUS_OF_CODE } from './errors.ts';
import { httpWorlds, OFFERS } from './fixtures/http-world.ts';

const aWorld = httpWorlds();

const manyNames = Array.from({ length: 5_000 }, (_, at): [string, number] => [`name${at}`, 1]);

describe('errors', () => {
  it('have a status for every code', () => {
    for (const code of ERROR_CODES) expect(STATUS_OF_CODE[code]).toBeGreaterThanOrEqual(400);
  });

  it('stand in docs/errors.md, each with its status and nothing else', () => {
    const page = readFileSync(resolve(import.meta.dirname, '../../docs/errors.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `(\w+)` +\| (\d{3}) /gm)].map(([, code, status]) => [code, Number(status)]);

    expect(Object.fromEntries(rows)).toEqual(STATUS_OF_CODE);
  });

  it.each([
    ['GET', '/nothing'],
    ['PUT', '/api/v1/sessions'],
    ['POST', '/api/v1/inventory'],
    ['OPTIONS', '/api/v1/sessions'],
  ] as const)('%s %s is a 404 in JSON', async (method, url) => {
    const { app } = await aWorld();

    const answer = await app.inject({ method, url });

    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({
      error: `no such route: ${method} ${url}; the API is described at /docs`,
      error_type: 'not_found',
      request_id: answer.headers['x-request-id'],
    });
  });

  it('PEER-10.76: take the id of the request from the client when it is fit for a log, else make one', async () => {
    const { app } = await aWorld();

    const own = await app.inject({ url: '/nothing', headers: { 'x-request-id': 'trace.1-A_b' } });
    const unfit = await app.inject({ url: '/nothing', headers: { 'x-request-id': 'a b' } });

    expect(own.headers['x-request-id']).toBe('trace.1-A_b');
    expect(own.json()).toMatchObject({ request_id: 'trace.1-A_b' });
    expect(unfit.headers['x-request-id']).toMatch(/^req_/);
  });

  it.each([
    ['an empty body', 'application/json', '', 400, /must be a JSON object/],
    ['no JSON', 'application/json', '{"offer_id"', 400, /no valid JSON/],
    [
      'thousands of unknown names',
      'application/json',
      JSON.stringify(Object.fromEntries(manyNames)),
      400,
      /no field of this request/,
    ],
    [
      'JSON that is 30,000 lists deep',
      'application/json',
      '['.repeat(30_000) + ']'.repeat(30_000),
      400,
      /must be a JSON object/,
    ],
    ['a list', 'application/json', '[]', 400, /must be a JSON object/],
    ['null', 'application/json', 'null', 400, /must be a JSON object/],
    ['__proto__', 'application/json', '{"__proto__": {"a": 1}}', 400, /__proto__/],
    ['constructor.prototype', 'application/json', '{"constructor": {"prototype": {}}}', 400, /prototype/],
    ['another content type', 'application/x-www-form-urlencoded', '{"offer_id":"a"}', 415, /Content-Type: application\/json/],
    ['a huge body', 'application/json', `{"name":"${'x'.repeat(70_000)}"}`, 413, /larger than/],
    ['a broken charset of names', 'application/json', '{"\\ud800": 1}', 400, /no field of this request/],
  ])('REL-K5: %s is refused by name', async (_, contentType, payload, status, message) => {
    const { app } = await aWorld();

    const answer = await app.inject({
      method: 'POST',
      url: '/api/v1/sessions',
      headers: { 'content-type': contentType },
      payload,
    });

    expect(answer.statusCode).toBe(status);
    expect(answer.json<{ error: string }>().error).toMatch(message);
  });

  it.each([
    ['/api/v1/sessions/%zz', 400],
    [`/api/v1/sessions/${'x'.repeat(600)}`, 414],
  ])('answer the address %s in the same shape', async (url, status) => {
    const { app } = await aWorld();

    const answer = await app.inject(url);

    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toMatchObject({
      error: expect.any(String),
      error_type: expect.any(String),
      request_id: expect.any(String),
    });
  });

  it('tell the client nothing of a bug, and the log everything', async () => {
    const world = await aWorld({ health: Object.defineProperty({}, 'providers', { enumerable: true, get: () => failing() }) });
    const failing = () => {
      throw new Error('secret detail of /etc/berth');
    };

    const answer = await world.app.inject('/health');

    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret detail');
    expect(answer.json()).toMatchObject({ error_type: 'internal' });
    expect(JSON.stringify(world.log.entries)).toContain('secret detail');
  });

  it('count answers by the pattern of the route', async () => {
    const { app, observed } = await aWorld();

    await app.inject('/api/v1/sessions/ses_1');
    await app.inject('/nothing');

    expect(observed).toMatchObject([
      { method: 'GET', route: '/api/v1/sessions/:id', status: 404 },
      { method: 'GET', route: undefined, status: 404 },
    ]);
  });

  it('REL-K6: no body whatever makes the broker fail', async () => {
    const world = await aWorld();
    const known = [
      'offer_id',
      'gpu_type',
      'min_vram',
      'env',
      'metadata',
      'reservation_hours',
      'ssh_public_key',
      'name',
      'exposed_ports',
      'disk_gb',
    ];
    const field = fc.oneof(fc.constantFrom(...known), fc.string());
    const body = fc.oneof(
      fc.json(),
      fc.dictionary(field, fc.jsonValue()).map((value) => JSON.stringify(value)),
      fc.string(),
    );

    await fc.assert(
      fc.asyncProperty(body, async (payload) => {
        const headers = { 'content-type': 'application/json' };
        const answer = await world.app.inject({ method: 'POST', url: '/api/v1/sessions?wait=0', headers, payload });
        expect(answer.statusCode).toBeGreaterThanOrEqual(201);
        // nothing of such a body fits an offer but no requirement at all
        if (answer.statusCode >= 500) expect(answer.json()).toMatchObject({ error_type: 'no_capacity' });
        expect(answer.statusCode === 201 || answer.json<{ error: string }>().error.length > 0).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('REL-K6: no query whatever makes the inventory fail', async () => {
    const { app } = await aWorld();
    const name = fc.oneof(
      fc.constantFrom('min_vram', 'max_price', 'limit', 'offset', 'gpu_type', 'sort', 'provider'),
      fc.string(),
    );

    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(name, fc.string()), { maxLength: 5 }), async (pairs) => {
        const query = pairs.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
        const answer = await app.inject(`/api/v1/inventory?${query.join('&')}`);
        expect([200, 400]).toContain(answer.statusCode);
      }),
      { numRuns: 300 },
    );
  });
});

describe('on the wire', () => {
  /** Sends bytes as they are and gives the first line and the body of what comes back. */
  async function exchange(port: number, bytes: string): Promise<{ line: string; body: string }> {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.write(bytes, 'latin1');
    await new Promise<void>((resolve, reject) => {
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('close', () => resolve());
      socket.on('error', reject);
    });
    const text = Buffer.concat(chunks).toString('latin1');
    return { line: text.split('\r\n')[0] ?? '', body: text.split('\r\n\r\n')[1] ?? '' };
  }

  const start = 'POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n';
  it.each([
    ['Content-Length beside Transfer-Encoding', `${start}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${start}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`],
    ['an unknown transfer encoding', `${start}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${start}Content-Length : 3\r\n\r\nabc`],
    ['a bare line feed', 'POST /api/v1/sessions HTTP/1.1\nHost: x\nContent-Length: 0\n\n'],
    ['no Host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a zero byte in a header', `${start}X-A: a\0b\r\n\r\n`],
  ])('REL-K15: %s is refused', async (_, bytes) => {
    const { app } = await aWorld();
    const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));

    const { line } = await exchange(Number(port), bytes);

    expect(line).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('REL-K16: headers that are too large are refused in the shape of every error', async () => {
    const { app } = await aWorld();
    const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));

    const { line, body } = await exchange(
      Number(port),
      `GET /health HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`,
    );

    expect(line).toMatch(/^HTTP\/1\.1 431 /);
    expect(JSON.parse(body)).toMatchObject({ error_type: 'header_too_large', request_id: expect.any(String) });
  });

  it('lets a client keep its connection', async () => {
    const { app } = await aWorld();
    const origin = await app.listen({ port: 0, host: '127.0.0.1' });

    const offer = await fetch(`${origin}/api/v1/inventory/${OFFERS.ask1}`);

    expect(offer.headers.get('connection')).toBe('keep-alive');
    await offer.body?.cancel();
  });
});
