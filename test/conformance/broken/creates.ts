import type { Instance } from '../../../src/provider/instance.ts';
import { ProviderError } from '../../../src/provider/provider-error.ts';
import { uncancelled } from '../../support/provider-calls.ts';
import type { BrokenProvider } from './broken-provider.ts';
import { isKind, anError, changeOffers, changeInstances, changeErrors } from './change.ts';

export const BROKEN_CREATES: readonly BrokenProvider[] = [
  {
    name: 'drops the tag',
    caughtBy: 'create-tags-at-once',
    says: 'the created instance does not bear its tag',
    wrap: changeInstances(({ tag: _tag, ...instance }) => instance),
  },
  {
    name: 'attaches the tag by a second call',
    caughtBy: 'create-tags-at-once',
    says: 'get first showed the instance without its tag',
    wrap: (world) => {
      const { provider, clock } = world;
      const tooYoung = ({ createdAt = 0 }: Instance) => clock.now() - createdAt < 1_500;
      return changeInstances(
        ({ tag, ...instance }) => (tag === undefined || tooYoung(instance) ? instance : { ...instance, tag }),
        {
          ofCreate: false,
        },
      )({ ...world, provider });
    },
  },
  {
    name: 'boots for ever',
    caughtBy: 'create-runs',
    says: 'the instance should run, but not within',
    wrap: ({ provider, account }) => {
      account.settings.bootMs = Infinity;
      return provider;
    },
  },
  {
    name: 'says running without an address',
    caughtBy: 'create-runs',
    says: 'it runs without an address',
    wrap: changeInstances((instance) =>
      instance.state === 'running' ? { ...instance, ssh: { ...instance.ssh, routes: [] } } : instance,
    ),
  },
  {
    name: 'says rejected when the offer is taken',
    caughtBy: 'create-taken-is-capacity',
    says: 'should be capacity, but is rejected',
    wrap: changeErrors('CreateInstance', (error) => (error.kind === 'capacity' ? anError(error, { kind: 'rejected' }) : error)),
  },
  {
    name: 'falls back on another offer when the one asked for is taken',
    caughtBy: 'create-taken-is-capacity',
    says: 'should have thrown, but answered',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: async (request, options) => {
        try {
          return await provider.createInstance(request, options);
        } catch (error) {
          const [other] = (await provider.listOffers({}, options)).offers;
          if (!(error instanceof ProviderError) || error.kind !== 'capacity' || !other) throw error;
          return provider.createInstance({ ...request, offer: other, maxPriceMicrosPerHour: 10_000_000 }, options);
        }
      },
    }),
  },
  {
    name: 'sells one unit twice',
    caughtBy: 'create-one-unit-once',
    says: '2 of two got the same unit',
    wrap: ({ provider, account }) => {
      for (const offer of account.offers) account.changeOffer(offer, { units: 2 });
      return changeOffers((offer) => ({ ...offer, units: 1 }))({ provider });
    },
  },
  {
    name: 'creates again after a lost answer',
    caughtBy: 'create-lost-answer',
    says: 'one create made 2 instances',
    wrap: ({ provider, account }) => ({
      ...provider,
      createInstance: (request, options) =>
        provider.createInstance(request, options).catch((error: unknown) => {
          if (!isKind(error, 'ambiguous')) throw error;
          account.heal();
          return provider.createInstance(request, options);
        }),
    }),
  },
  {
    name: 'says unavailable when the answer is lost, so that somebody else creates again',
    caughtBy: 'create-lost-answer',
    says: 'should be ambiguous or protocol, but is unavailable',
    wrap: changeErrors('CreateInstance', (error) =>
      error.kind === 'ambiguous' ? anError(error, { kind: 'unavailable' }) : error,
    ),
  },
  {
    name: 'takes a create that was cut short for one that never happened',
    caughtBy: 'create-cut-short',
    says: 'should be ambiguous, but is unavailable',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: (request, options) =>
        provider.createInstance(request, options).catch((error: unknown) => {
          throw options.signal.aborted && error instanceof ProviderError ? anError(error, { kind: 'unavailable' }) : error;
        }),
    }),
  },
  {
    name: 'ignores the abort of a create',
    caughtBy: 'create-cut-short',
    says: 'gave no answer within',
    wrap: ({ provider }) => ({ ...provider, createInstance: (request) => provider.createInstance(request, uncancelled) }),
  },
  {
    name: 'sends a create that was cancelled before it began',
    caughtBy: 'create-not-sent',
    says: 'something was made all the same',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: async (request, options) => {
        const instance = await provider.createInstance(request, uncancelled);
        if (!options.signal.aborted) return instance;
        throw new ProviderError({
          kind: 'ambiguous',
          provider: provider.id,
          operation: 'CreateInstance',
          message: 'cancelled',
        });
      },
    }),
  },
  {
    name: 'calls every refusal unavailable',
    caughtBy: 'create-definite-failure',
    says: 'should be capacity, but is unavailable',
    wrap: changeErrors('CreateInstance', (error) => anError(error, { kind: 'unavailable' })),
  },
  {
    name: 'lists one instance for each tag',
    caughtBy: 'create-same-tag-twice',
    says: 'no list shows it with the tag',
    wrap: ({ provider }) => ({
      ...provider,
      listInstances: async (options) => {
        const rows = await provider.listInstances(options);
        return rows.filter((row, at) => row.tag === undefined || rows.findIndex(({ tag }) => tag === row.tag) === at);
      },
    }),
  },
  {
    name: 'prices its instances in dollars',
    caughtBy: 'instance-integer-price',
    says: 'the instance costs 0.12',
    wrap: changeInstances((instance) => ({ ...instance, priceMicrosPerHour: (instance.priceMicrosPerHour ?? 0) / 1_000_000 })),
  },
];
