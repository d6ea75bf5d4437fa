import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { BrokerError } from '../../core/errors.ts';
import { soldVramGb } from '../../offers/vram.ts';
import { offerId } from '../../provider/ids.ts';
import { needsWithDisk, unmetNeeds } from '../../provider/template.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { CompatibleTemplatesBody, fitsQuery, TemplateBody, TemplatesBody, TemplatesQuery } from '../schemas/template.ts';
import { templateStatusToWire, templateToWire } from '../schemas/template.ts';
import { findTemplate } from './find-template.ts';
import { WAITING_TIME_MS } from './handler-times.ts';
import { offerNotFound, providerNotFound } from './inventory.ts';

type TemplateDeps = Pick<HttpDeps, 'templates' | 'book'> & { readonly settings: Pick<HttpDeps['settings'], 'providers'> };

/** What providers keep as recipes. They answer from memory as a rule, and say of when. */
export const templateRoutes: FastifyPluginAsyncZod<TemplateDeps> = async (app, { templates, book, settings }) => {
  const known = new Set<string>(settings.providers.map(({ id }) => id));

  app.get(
    '/api/v1/templates',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'listTemplates',
        summary: 'List the templates that the providers recommend',
        description: 'Empty where no provider that is on has templates. Filters are joined by "and".',
        tags: ['templates'],
        querystring: TemplatesQuery,
        response: { 200: TemplatesBody, ...errorAnswers(400, 401, 429, 503) },
      },
    },
    async ({ query }) => {
      for (const provider of query.provider ?? []) if (!known.has(provider)) throw providerNotFound(provider, known);
      const listed = await templates.list();
      const found = listed.flatMap(({ templates: all, observedAt = 0 }) =>
        all.filter((template) => fitsQuery(template, query)).map((template) => templateToWire({ template, observedAt })),
      );
      return { templates: found, count: found.length, providers: listed.map(templateStatusToWire) };
    },
  );

  app.get(
    '/api/v1/templates/:hash_id',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'getTemplate',
        summary: 'Get one template',
        description: 'By its hash also a template is found that is not recommended.',
        tags: ['templates'],
        params: z.object({ hash_id: z.string() }),
        response: { 200: TemplateBody, ...errorAnswers(401, 404, 429, 503) },
      },
    },
    async ({ params }) => templateToWire(await findTemplate(templates, params.hash_id)),
  );

  app.get(
    '/api/v1/inventory/:id/compatible-templates',
    {
      handlerTimeout: WAITING_TIME_MS,
      schema: {
        operationId: 'listCompatibleTemplates',
        summary: 'List the recommended templates that an offer can run',
        description: 'By the same rule by which POST /api/v1/sessions takes a template for an offer.',
        tags: ['templates'],
        params: z.object({ id: z.string() }),
        response: { 200: CompatibleTemplatesBody, ...errorAnswers(401, 404, 429, 503) },
      },
    },
    async ({ params }) => {
      const id = offerId(params.id.trim());
      const offer = book.find(id)?.offer;
      if (!offer) throw offerNotFound(id);
      if (!templates.providers.includes(offer.provider)) {
        const note = `${offer.provider} has no templates`;
        return { compatible_templates: [], count: 0, offer_id: offer.id, provider: offer.provider, note };
      }
      const own = (await templates.list()).find(({ provider }) => provider === offer.provider);
      if (own?.error) throw new BrokerError({ code: 'provider_unavailable', message: own.error.message });
      const fitting = (own?.templates ?? []).filter((template) => unmetNeeds(needsWithDisk(template), offer).length === 0);
      return {
        compatible_templates: fitting.map(({ hashId, name, image, recommendedDiskGb }) =>
          present({ hash_id: hashId, name, image, recommended_disk_space: recommendedDiskGb }),
        ),
        count: fitting.length,
        offer_id: offer.id,
        gpu_type: offer.gpuType,
        vram_gb: soldVramGb(offer.vramMib),
      };
    },
  );
};
