import { describe, expect, it } from 'vitest';
import { Secret } from '../core/secret.ts';
import { createLogger } from './logger.ts';

const SECRET = 'canary-6f1d5c0b9e7a4d3c';
const KEY = 'berth_0123456789ab_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ';
const clock = { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678) };

function aLog(settings: Partial<Parameters<typeof createLogger>[0]> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    format: 'json',
    clock,
    destination: { write: (line) => void lines.push(line) },
    ...settings,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('createLogger', () => {
  it('writes time, level, fields and message, one object a line', () => {
    const { log, lines } = aLog();

    log.info({ sessionId: 'ses_1', count: 2 }, 'session provisioned');

    expect(lines).toEqual([
      '{"level":"info","time":"2026-01-02T03:04:05.678Z","sessionId":"ses_1","count":2,"message":"session provisioned"}\n',
    ]);
  });

  it('leaves out what is less important than its level', () => {
    const { log, lines } = aLog({ level: 'warn' });

    log.debug({}, 'no');
    log.info({}, 'no');
    log.warn({}, 'yes');
    log.error({}, 'yes');

    expect(lines).toHaveLength(2);
  });

  it.each([
    { authorization: `Bearer ${SECRET}` },
    { headers: { Authorization: SECRET, 'x-api-key': SECRET, cookie: SECRET, 'Set-Cookie': [SECRET] } },
    { ssh_private_key: SECRET, privateKey: SECRET, probeKey: SECRET },
    { deep: [{ deeper: { password: SECRET, apiToken: SECRET, VASTAI_API_KEY: SECRET } }] },
    { secret: new Secret(SECRET), list: [new Secret(SECRET)] },
    { note: `curl -H "Authorization: Bearer ${SECRET}"` },
    { url: `postgres://berth:${SECRET}@db/berth` },
    { note: `-----BEGIN OPENSSH PRIVATE KEY-----\n${SECRET}\n-----END OPENSSH PRIVATE KEY-----` },
    { note: `-----BEGIN PRIVATE KEY-----\n${SECRET}` },
    { error: new Error(`401 for Bearer ${SECRET}`, { cause: new Error(`https://u:${SECRET}@host/ is down`) }) },
    { error: Object.assign(new Error(`Failed query: insert … params: ${SECRET}`), { query: 'insert', params: [SECRET] }) },
    { bytes: Buffer.from(SECRET) },
    { map: new Map([['a', { token: SECRET }]]) },
  ])('REL-L3: keeps secrets out of the log: case %#', (fields) => {
    for (const format of ['json', 'text'] as const) {
      const { log, lines } = aLog({ format });

      log.error(fields, 'it happened');
      log.child(fields).error({}, 'it happened');

      expect(lines).toHaveLength(2);
      expect(lines.join()).not.toContain(SECRET);
    }
  });

  it('REL-L3: keeps our own keys out of messages and fields', () => {
    const { log, lines } = aLog();

    log.warn({ note: `who has ${KEY}?` }, `key ${KEY} refused`);

    expect(lines.join()).not.toContain(KEY);
    expect(lines.join()).toContain('key [redacted] refused');
  });

  it('lets pass what only sounds like a secret', () => {
    const { log, last } = aLog();
    const fields = {
      keyName: 'ci-1',
      secretId: 'sec_1',
      monkey: 'yes',
      tokens: 5,
      kekId: 'ab',
      authorized: true,
      retryKey: undefined,
      url: 'http://127.0.0.1:8080/',
    };

    log.info(fields, 'fine');

    expect(last()).toMatchObject({
      keyName: 'ci-1',
      secretId: 'sec_1',
      monkey: 'yes',
      kekId: 'ab',
      authorized: true,
      url: 'http://127.0.0.1:8080/',
    });
  });

  it('describes an error with its causes, its code and its frames, but no message in the stack', () => {
    const { log, last } = aLog();

    log.error({ error: Object.assign(new TypeError('outer', { cause: new Error('inner') }), { code: 'E_X' }) }, 'failed');

    expect(last()['error']).toMatchObject({
      name: 'TypeError',
      message: 'TypeError: outer (caused by Error: inner)',
      code: 'E_X',
      stack: expect.stringMatching(/^at /),
    });
  });

  it('tells what the database said and not what was bound to the query', () => {
    const { log, last } = aLog();
    const cause = new Error('UNIQUE constraint failed: sessions.id');

    log.error(
      { error: Object.assign(new Error(`Failed query: … params: ${SECRET}`, { cause }), { query: '', params: [] }) },
      'failed',
    );

    expect(last()['error']).toMatchObject({
      message: 'Error: a database query failed (caused by Error: UNIQUE constraint failed: sessions.id)',
    });
  });

  it('survives circles and depth', () => {
    const { log, last } = aLog();
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;

    log.info({ circle, big: 5n }, 'round');

    expect(JSON.stringify(last())).toContain('[too deep]');
    expect(last()['big']).toBe('5');
  });

  it('gives a child its fields on every line', () => {
    const { log, last } = aLog();

    log.child({ controller: 'session.expiry' }).child({ pass: 1 }).info({}, 'done');

    expect(last()).toMatchObject({ controller: 'session.expiry', pass: 1, message: 'done' });
  });

  it('writes for people when told to', () => {
    const { log, lines } = aLog({ format: 'text' });
    const error = Object.assign(new Error('no'), { stack: 'Error: no\n    at here (file.ts:1:2)' });

    log.warn({ sessionId: 'ses_1', count: 2, note: 'a "b"\nc', data: { a: 1 }, text: 'two words' }, 'destroy refused');
    log.error({ error }, 'failed');

    expect(lines.join('')).toMatchInlineSnapshot(`
      "2026-01-02T03:04:05.678Z WARN  destroy refused sessionId=ses_1 count=2 note="a \\"b\\"\\nc" data={"a":1} text=two words
      2026-01-02T03:04:05.678Z ERROR failed error=Error: no
          at here (file.ts:1:2)
      "
    `);
  });
});
