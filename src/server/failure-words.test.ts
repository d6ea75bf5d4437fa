import { expect, it } from 'vitest';
import { isOfferFault } from '../offers/failure-memory.ts';
import { blamesOffer } from '../sessions/retry-rules.ts';
import { FAILURE_REASONS } from '../sessions/session-state.ts';

it('remembers against an offer exactly what a session blames it for', () => {
  const request = {
    environment: {},
    autoRetry: false,
    maxRetries: 0,
    retryScope: 'any',
    storagePolicy: 'destroy',
    launchMode: 'ssh',
  } as const;

  const blamed = FAILURE_REASONS.filter((reason) => blamesOffer(reason, { request }));

  expect(blamed).toEqual(FAILURE_REASONS.filter(isOfferFault));
});
