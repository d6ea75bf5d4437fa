import { expect, it } from 'vitest';
import { createFailure } from './failure.ts';
import { providerId } from './ids.ts';
import { ProviderError } from './provider-error.ts';

const ACME = providerId('acme');
const failure = createFailure(ACME, ({ status }: { readonly status: number }) => `HTTP ${status}`);
const LATE = { operation: 'CreateInstance', kind: 'ambiguous', why: 'the server gave up' } as const;

it('names the operation, the provider and why', () => {
  const error = failure(LATE);

  expect(error).toBeInstanceOf(ProviderError);
  expect(error).toMatchObject({ kind: 'ambiguous', provider: ACME, operation: 'CreateInstance' });
  expect(error.message).toBe('create instance at acme: the server gave up');
  expect(error.retryAfterMs).toBeUndefined();
  expect(error.cause).toBeUndefined();
});

it('gives the answer as the cause, in the words of the adapter', () => {
  const error = failure({ ...LATE, said: { status: 503 } });

  expect(error.cause).toEqual(new Error('HTTP 503'));
  expect(error.message).toBe('create instance at acme: the server gave up');
});

it('prefers what was thrown to what was said', () => {
  const cause = new Error('the connection broke');

  expect(failure({ ...LATE, said: { status: 503 }, cause }).cause).toBe(cause);
});

it('never sends anybody back too early', () => {
  expect(failure({ ...LATE, kind: 'rate_limited', retryAfterMs: 1_000.2 }).retryAfterMs).toBe(1_001);
});

it('serves an adapter without answers to read', () => {
  expect(createFailure(ACME)({ ...LATE, operation: 'Check' }).message).toBe('check at acme: the server gave up');
});
