import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { ProviderError } from '../../../src/provider/provider-error.ts';
import {
  attempt,
  control,
  created,
  createLimitMs,
  createRequest,
  everyCall,
  SENT_SECRETS,
  settled,
  someOffer,
} from '../steps.ts';
import type { AccountFault, ConformanceCheck, ConformanceWorld } from '../world.ts';
import type { ProviderOperation } from '../../../src/provider/provider-error.ts';

const FAULTS = ['rate_limited', 'unavailable', 'auth', 'unreadable', 'lost answer'] as const satisfies AccountFault[];

export const errorChecks: readonly ConformanceCheck[] = [
  {
    id: 'errors-are-provider-errors',
    scenario: 'CONF-C21',
    title: 'throws nothing but ProviderErrors, which name the provider and the call',
    needs: ['fault', 'heal'],
    run: async (world) => {
      for (const { operation, fault, thrown } of await everyError(world)) {
        assert.ok(thrown instanceof ProviderError, `${operation} threw ${String(thrown)} on ${fault}`);
        assert.equal(thrown.provider, world.provider.id, `${operation} blames another provider on ${fault}`);
        assert.equal(thrown.operation, operation, `an error of ${operation} says ${thrown.operation}`);
        const wait = thrown.retryAfterMs;
        assert.ok(wait === undefined || (Number.isFinite(wait) && wait >= 0), `${operation} wants a wait of ${wait} ms`);
      }
    },
  },
  {
    id: 'errors-carry-no-secret',
    scenario: 'EMU-E9',
    title: 'lets no key, token or variable into an error, nor into its causes',
    needs: ['fault', 'heal'],
    run: async (world) => {
      for (const { operation, fault, thrown } of await everyError(world)) {
        const text = inspect(thrown, { depth: 10, maxStringLength: Infinity });
        for (const secret of [...SENT_SECRETS, ...world.secrets]) {
          assert.ok(!text.includes(secret), `the error of ${operation} on ${fault} carries a secret`);
        }
      }
    },
  },
];

/** What each call throws on each fault. A destroy may answer instead, since its outcome is asked for again. */
async function everyError(
  world: ConformanceWorld,
): Promise<readonly { readonly operation: ProviderOperation; readonly fault: AccountFault; readonly thrown: unknown }[]> {
  const { instance } = await created(world);
  const offer = await someOffer(world);
  const errors: { operation: ProviderOperation; fault: AccountFault; thrown: unknown }[] = [];
  for (const fault of FAULTS) {
    for (const { operation, call } of everyCall(world, { id: instance.id, request: createRequest(world, offer) })) {
      control(world, 'fault')(operation, fault);
      const outcome = await settled(
        world,
        attempt(() => call({ signal: new AbortController().signal })),
        { limitMs: createLimitMs(world) },
      );
      control(world, 'heal')();
      if (!('thrown' in outcome)) continue;
      errors.push({ operation, fault, thrown: outcome.thrown });
      if (outcome.thrown instanceof ProviderError) await world.advance(outcome.thrown.retryAfterMs ?? 0);
    }
  }
  assert.ok(errors.length > 0, 'no fault led to an error');
  return errors;
}
