import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Secret } from '../core/secret.ts';
import {
  createHttpClient,
  HttpFailure,
  isLoopbackUrl,
  kindOfHttpFailure,
  mayCarryCredentials,
  parseBaseUrl,
  retryAfterMs,
} from './http-client.ts';

const signal = new AbortController().signal;
const closers: (() => void)[] = [];
afterEach(() => closers.splice(0).forEach((close) => close()));

async function aServer(answer: RequestListener, { maxBytes = 10_000, path = '' } = {}) {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  const clock = new FakeClock();
  const http = createHttpClient({
    baseUrl: new URL(`http://127.0.0.1:${port}${path}`),
    clock,
    credentials: { authorization: new Secret('Bearer s3cret') },
    timeoutMs: 5_000,
    maxBytes,
  });
  return { http, clock, server };
}

describe('createHttpClient', () => {
  it('sends JSON with the credentials, and reads the answer whatever its type says', async () => {
    const seen: unknown[] = [];
    const { http } = await aServer(
      (request, response) => {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          seen.push(request.method, request.url, request.headers.authorization, request.headers['content-type'], body);
          response.writeHead(201, { 'content-type': 'text/plain; charset=utf-8', 'retry-after': '3' }).end('{"a":1}');
        });
      },
      { path: '/base/' },
    );

    const answer = await http.send({ method: 'PUT', path: '/x/', query: { q: '{"a":"ü&"}' }, body: { b: 2 }, signal });

    expect(seen).toEqual(['PUT', '/base/x/?q=%7B%22a%22%3A%22%C3%BC%26%22%7D', 'Bearer s3cret', 'application/json', '{"b":2}']);
    expect(answer).toMatchObject({ status: 201, contentType: 'text/plain', text: '{"a":1}', json: { a: 1 } });
    expect(retryAfterMs(answer, 0)).toBe(3_000);
  });

  it('sends JSON as it was written where JavaScript has no number for it, and over a connection of its own where that is asked', async () => {
    const seen: unknown[] = [];
    const { server } = await aServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        seen.push([body, request.headers['content-type'], request.headers.connection]);
        response.end('{}');
      });
    });
    const { port } = server.address() as AddressInfo; // a TCP server that listens has one
    const http = createHttpClient({
      baseUrl: new URL(`http://127.0.0.1:${port}`),
      clock: new FakeClock(),
      timeoutMs: 5_000,
      freshConnections: true,
    });

    await http.send({ method: 'POST', path: '/', jsonText: '{"id":7530111069344235521}', signal });

    expect(seen).toEqual([['{"id":7530111069344235521}', 'application/json', 'close']]);
  });

  it.each([
    ['an empty body', ''],
    ['a page for people', '<html>502 Bad Gateway</html>'],
    ['half of an answer', '{"instances": [{"id": 1'],
  ])('says of %s that it is no JSON', async (_, text) => {
    const { http } = await aServer((_request, response) => response.end(text));

    expect(await http.send({ method: 'GET', path: '/', signal })).toMatchObject({ text, json: undefined });
  });

  it('CONF-C8: follows no redirect, whose JSON could be taken for an answer', async () => {
    let calls = 0;
    const { http } = await aServer((_request, response) => {
      calls += 1;
      response.writeHead(301, { location: '/elsewhere/' }).end('{"message":"moved"}');
    });

    await expect(http.send({ method: 'GET', path: '/x', signal })).rejects.toMatchObject({
      fault: 'redirected',
      code: 'HTTP_301',
    });
    expect(calls).toBe(1);
  });

  it('REL-K4: reads no further than its limit, also when the bytes come packed', async () => {
    const { http } = await aServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(5_000_000)));
    });

    await expect(http.send({ method: 'GET', path: '/', signal })).rejects.toMatchObject({ fault: 'too_large' });
  });

  it('knows that a request was never sent when nobody listens', async () => {
    const { http, server } = await aServer(() => {});
    server.close();

    const failure = await http.send({ method: 'PUT', path: '/', signal }).catch((error: unknown) => error);

    expect(failure).toMatchObject({ fault: 'unreachable', mayBeSent: false, code: 'ECONNREFUSED' });
  });

  it('CONF-C3: takes a connection that breaks off for a request that may have been carried out', async () => {
    const { http } = await aServer((request) => request.socket.destroy());

    await expect(http.send({ method: 'PUT', path: '/', signal })).rejects.toMatchObject({
      fault: 'broken_off',
      mayBeSent: true,
    });
  });

  it('takes an answer that breaks off in its middle for one that was not read', async () => {
    const { http } = await aServer((_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"a"', () => response.destroy());
    });

    await expect(http.send({ method: 'GET', path: '/', signal })).rejects.toMatchObject({
      fault: 'broken_off',
      mayBeSent: true,
    });
  });

  it('ends a call by its own time and by its caller, and tells them apart', async () => {
    let arrived = () => {};
    const { http, clock } = await aServer(() => arrived());
    const arrival = () => new Promise<void>((resolve) => (arrived = resolve));
    const abort = new AbortController();

    let there = arrival();
    const late = expect(http.send({ method: 'GET', path: '/', signal })).rejects.toMatchObject({
      fault: 'timed_out',
      mayBeSent: true,
    });
    await there;
    await clock.advance(5_000);
    await late;
    there = arrival();
    const cut = expect(http.send({ method: 'GET', path: '/', signal: abort.signal })).rejects.toMatchObject({
      fault: 'cancelled',
    });
    await there;
    abort.abort();
    await cut;

    const before = http.send({ method: 'GET', path: '/', signal: abort.signal });
    await expect(before).rejects.toMatchObject({ fault: 'cancelled', mayBeSent: false });
  });

  it('puts neither address nor credentials into a failure', async () => {
    const { http, server } = await aServer(() => {});
    server.close();
    const broken = createHttpClient({
      baseUrl: new URL('http://127.0.0.1:1'),
      clock: new FakeClock(),
      credentials: { authorization: new Secret('Bearer s3cret\n{}') },
      timeoutMs: 1_000,
    });

    for (const each of [http, broken]) {
      const error = await each.send({ method: 'GET', path: '/?x=1', signal }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(HttpFailure);
      expect(JSON.stringify([error, String(error), (error as HttpFailure).cause ?? null])).not.toMatch(/s3cret|127\.0/);
    }
  });

  it('is not made to carry credentials unencrypted to another machine', () => {
    const options = { clock: new FakeClock(), timeoutMs: 1, credentials: { authorization: new Secret('Bearer x') } };
    const baseUrl = new URL('http://market.example');

    expect(() => createHttpClient({ ...options, baseUrl })).toThrow(RangeError);
    expect(() => createHttpClient({ ...options, baseUrl, allowPlainHttp: true })).not.toThrow();
    expect(() => createHttpClient({ ...options, baseUrl, credentials: {} })).not.toThrow();
  });
});

describe('kindOfHttpFailure', () => {
  it.each([
    ['unreachable', false, 'CreateInstance', 'unavailable'],
    ['cancelled', false, 'CreateInstance', 'unavailable'],
    ['broken_off', true, 'CreateInstance', 'ambiguous'],
    ['timed_out', true, 'CreateInstance', 'ambiguous'],
    ['cancelled', true, 'CreateInstance', 'ambiguous'],
    ['redirected', true, 'CreateInstance', 'protocol'],
    ['timed_out', true, 'DestroyInstance', 'unavailable'],
    ['redirected', true, 'ListAllInstances', 'protocol'],
    ['too_large', true, 'ListOffers', 'protocol'],
  ] as const)('RULE-R3: %s (may be sent: %s) is to %s %s', (fault, mayBeSent, operation, kind) => {
    expect(kindOfHttpFailure(new HttpFailure(fault, { mayBeSent }), operation)).toBe(kind);
  });
});

describe('base URLs', () => {
  it.each([
    ['https://console.vast.ai', true, false],
    ['http://market.example/api', false, false],
    ['http://127.0.0.1:8080', true, true],
    ['http://127.9.9.9', true, true],
    ['http://localhost:1/', true, true],
    ['http://[::1]:1', true, true],
    ['http://127.0.0.1.example.org', false, false],
    ['http://localhost.example.org', false, false],
    ['http://10.0.0.1', false, false],
  ])('%s may carry credentials: %s', (text, may, isLoopback) => {
    const url = parseBaseUrl(text) ?? new URL('ftp://unread');

    expect(mayCarryCredentials(url, { allowPlainHttp: false })).toBe(may);
    expect(mayCarryCredentials(url, { allowPlainHttp: true })).toBe(true);
    expect(isLoopbackUrl(url)).toBe(isLoopback);
  });

  it.each(['console.vast.ai', 'ftp://x', 'https://key@x', 'https://x/?api_key=1', 'https://x/#y', ''])(
    'refuses "%s"',
    (text) => {
      expect(parseBaseUrl(text)).toBeUndefined();
    },
  );
});

describe('retryAfterMs', () => {
  it.each([
    ['12', 12_000],
    ['1.5', 1_500],
    ['Thu, 01 Jan 1970 00:01:00 GMT', 50_000],
    ['soon', undefined],
    ['', undefined],
  ])('reads "%s" as %s', (value, expected) => {
    expect(retryAfterMs({ header: () => value }, 10_000)).toBe(expected);
  });
});
