import assert from 'node:assert/strict';
import type { TemplateQuery } from '../../../src/provider/template.ts';
import { uncancelled } from '../../support/provider-calls.ts';
import { answer, assertKind, created, createLimitMs, createRequest, listed, refusal, someOffer } from '../steps.ts';
import type { ConformanceCheck, ConformanceWorld } from '../world.ts';

/** Formed like a hash, of a template that never was. */
const UNKNOWN_HASH = '00000000000000000000000000000000';

/** None where the provider has no templates: then there is nothing to check. */
async function templatesOf(world: ConformanceWorld, query: TemplateQuery = {}) {
  const { provider } = world;
  return provider.templates && answer(world, provider.templates.call(provider, query, uncancelled));
}

export const templateChecks: readonly ConformanceCheck[] = [
  {
    id: 'templates-are-declared',
    title: 'says that it has templates exactly when it can list them',
    run: async ({ provider }) => {
      assert.equal(
        provider.capabilities.templates,
        provider.templates !== undefined,
        'what it says of its templates is not what it does',
      );
    },
  },
  {
    id: 'templates-by-hash',
    title: 'lists its templates once each, as of a time, and finds each by its hash, and none by another',
    run: async (world) => {
      const listing = await templatesOf(world);
      if (!listing) return;
      const { templates, observedAt } = listing;
      assert.ok(observedAt <= world.clock.now(), `the templates were observed at ${observedAt}, which is yet to come`);
      assert.equal(new Set(templates.map(({ hashId }) => hashId)).size, templates.length, 'two templates share a hash');
      for (const { provider, hashId } of templates) {
        assert.equal(provider, world.provider.id, `template ${hashId} says that it is of ${provider}`);
        const found = await templatesOf(world, { hashId });
        assert.deepEqual(
          found?.templates.map((each) => each.hashId),
          [hashId],
          `by its hash ${hashId} something else is found`,
        );
      }
      const none = await templatesOf(world, { hashId: UNKNOWN_HASH });
      assert.deepEqual(none?.templates, [], 'a template is found that never was');
    },
  },
  {
    id: 'templates-in-creates',
    title: 'makes instances from its templates, with the tag at once, and nothing from one that it does not know',
    run: async (world) => {
      const [template] = (await templatesOf(world))?.templates ?? [];
      if (!template) return;
      const { instance, request } = await created(world, { templateHashId: template.hashId });
      assert.equal(instance.tag, request.tag, 'an instance from a template does not bear its tag');
      const other = createRequest(world, await someOffer(world), { templateHashId: UNKNOWN_HASH });
      const thrown = await refusal(world, world.provider.createInstance(other, uncancelled), createLimitMs(world));
      assertKind(thrown, 'rejected');
      await world.advance(world.limits.listLagMs);
      const made = (await listed(world)).filter(({ tag }) => tag === other.tag);
      assert.deepEqual(made, [], 'something was made from a template that never was');
    },
  },
];
