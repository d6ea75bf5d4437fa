import { DrizzleQueryError } from 'drizzle-orm';
import { describe, expect, it } from 'vitest';
import { StoreError } from './store-error.ts';

const withCode = (code: string, message = 'it failed') => Object.assign(new Error(message), { code });

describe('StoreError', () => {
  it.each([
    ['SQLITE_CONSTRAINT_UNIQUE', 'unique'],
    ['SQLITE_CONSTRAINT_PRIMARYKEY', 'unique'],
    ['23505', 'unique'],
    ['SQLITE_CONSTRAINT_FOREIGNKEY', 'foreign-key'],
    ['23503', 'foreign-key'],
    ['SQLITE_BUSY_SNAPSHOT', 'try-again'],
    ['40001', 'try-again'],
    ['40P01', 'try-again'],
    ['SQLITE_FULL', 'disk-full'],
    ['53100', 'disk-full'],
    ['SQLITE_IOERR_FSYNC', 'io'],
    ['57P01', 'io'],
    ['ECONNRESET', 'io'],
    ['SQLITE_CONSTRAINT_NOTNULL', 'other'],
    ['42P01', 'other'],
  ])('reads %s as %s', (code, kind) => {
    expect(new StoreError('session.find', withCode(code))).toMatchObject({
      kind,
      code,
      message: `session.find failed: ${code}`,
    });
  });

  it('looks through the wrapper that quotes every bound value', () => {
    const wrapped = new DrizzleQueryError('insert into t values ($1)', ['hunter2'], withCode('23505', 'duplicate key'));

    const error = new StoreError('session.insert', wrapped);

    expect(error.kind).toBe('unique');
    expect(`${error.message} ${String(error.cause)} ${error.stack}`).not.toContain('hunter2');
  });

  it('drops the message of an error about data, which quotes it', () => {
    const error = new StoreError('session.insert', withCode('22P02', 'invalid input syntax for type bigint: "hunter2"'));

    expect(error.cause).toBeUndefined();
    expect(error.message).toBe('session.insert failed: 22P02');
  });

  it('recognises a lost connection, to which the driver gives no code', () => {
    const error = new StoreError('commit', new Error('Connection terminated unexpectedly'), { atCommit: true });

    expect(error).toMatchObject({ kind: 'io', outcomeUnknown: true });
  });

  it('REL-E9: takes an answer that does not come for a connection that is lost', () => {
    const error = new StoreError('commit', new Error('Query read timeout'), { atCommit: true });

    expect(error).toMatchObject({ kind: 'io', code: 'QUERY_TIMEOUT', outcomeUnknown: true });
  });

  it.each(['40001', 'SQLITE_FULL'])('knows that a commit which failed with %s did not happen', (code) => {
    expect(new StoreError('commit', withCode(code), { atCommit: true }).outcomeUnknown).toBe(false);
  });
});
