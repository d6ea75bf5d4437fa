import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { BrokerError } from '../../core/errors.ts';
import { plainLine } from '../../core/text.ts';
import type { BookQuery } from '../../offers/offer-query.ts';
import { offerId } from '../../provider/ids.ts';
import type { HttpDeps } from '../http-deps.ts';
import { invalidInput } from '../input-faults.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { bookQueryOf, InventoryQuery } from '../schemas/inventory-query.ts';
import { InventoryBody, OfferBody } from '../schemas/offer.ts';
import { validatorCompilerPastHeaders } from '../validation.ts';
import { findTemplate } from './find-template.ts';

type InventoryDeps = Pick<HttpDeps, 'book' | 'templates'> & { readonly settings: Pick<HttpDeps['settings'], 'providers'> };

const JSON_TYPE = 'application/json; charset=utf-8';
const ETag = z.object({
  'if-none-match': z.string().optional().describe('The ETag of an earlier answer: 304 while it holds.'),
});
const NotModified = z.null().describe('Nothing has changed since the ETag that was sent.');

/** Bodies come ready from the offer book: nothing is serialised and no provider is asked on the way of a request, but for a template that nobody remembers. */
export const inventoryRoutes: FastifyPluginAsyncZod<InventoryDeps> = async (app, { book, templates, settings }) => {
  const known = new Set<string>(settings.providers.map(({ id }) => id));
  const regular = remembered((query) => bookQueryOf(query));

  app.get(
    '/api/v1/inventory',
    {
      validatorCompiler: validatorCompilerPastHeaders,
      schema: {
        operationId: 'listOffers',
        summary: 'List the offers of all providers',
        description:
          'From memory, with the time of each observation; a provider that fails keeps its last offers and says so in providers. Filters are joined by "and", repeated values of one filter by "or". Empty and zero filters filter nothing.',
        tags: ['inventory'],
        querystring: InventoryQuery,
        headers: ETag,
        response: { 200: InventoryBody, 304: NotModified, ...errorAnswers(400, 401, 404, 429, 503) },
      },
    },
    (request, reply) => {
      const { query } = request;
      for (const provider of query.provider ?? []) if (!known.has(provider)) throw providerNotFound(provider, known);
      const send = (asked: BookQuery) => {
        const ifNoneMatch = request.headers['if-none-match'];
        if (ifNoneMatch !== undefined) {
          const etag = book.etag(asked);
          if (matches(ifNoneMatch, etag)) return answer(reply, { etag });
        }
        const { body, etag } = book.page(asked);
        answer(reply, { etag, body });
      };
      if (query.template_hash_id === undefined) return send(regular(request.url, query));
      return fittingQuery(templates, query, query.template_hash_id).then(send);
    },
  );

  app.get(
    '/api/v1/inventory/:id',
    {
      validatorCompiler: validatorCompilerPastHeaders,
      schema: {
        operationId: 'getOffer',
        summary: 'Get one offer',
        description: 'By its id also an offer is found that is taken or hidden because it failed.',
        tags: ['inventory'],
        params: z.object({ id: z.string() }),
        headers: ETag,
        response: { 200: OfferBody, 304: NotModified, ...errorAnswers(401, 404, 429) },
      },
    },
    (request, reply) => {
      const id = request.params.id.trim();
      const item = book.item(offerId(id));
      if (!item) throw offerNotFound(id);
      const { etag, body } = item;
      const ifNoneMatch = request.headers['if-none-match'];
      answer(reply, ifNoneMatch !== undefined && matches(ifNoneMatch, etag) ? { etag } : { etag, body });
    },
  );
};

/** For who would run a template: the offers of its provider that it fits. */
async function fittingQuery(templates: HttpDeps['templates'], query: InventoryQuery, hashId: string): Promise<BookQuery> {
  const field = 'template_hash_id';
  if (templates.providers.length === 0)
    throw invalidInput([{ field, message: 'no provider that is on has templates; leave it out' }]);
  const { template } = await findTemplate(templates, hashId);
  if (query.provider && !query.provider.includes(template.provider))
    throw invalidInput([{ field, message: `is a template of ${template.provider}; name it as provider, or name none` }]);
  return bookQueryOf(query, template);
}

const MOST_REMEMBERED = 500;

/** Clients ask the same again and again: what a URL means in the book's words is worked out once. */
function remembered(toBookQuery: (query: InventoryQuery) => BookQuery): (url: string, query: InventoryQuery) => BookQuery {
  const known = new Map<string, BookQuery>();
  return (url, query) => {
    const earlier = known.get(url);
    if (earlier) return earlier;
    const asked = toBookQuery(query);
    if (known.size >= MOST_REMEMBERED) known.clear();
    if (url.length <= 1_000) known.set(url, asked);
    return asked;
  };
}

/** Sends what the book has made, past the serializer; without a body it says that nothing has changed. */
function answer(reply: unknown, { etag, body }: { etag: string; body?: Buffer | string }): void {
  const raw = reply as FastifyReply; // the schema of the route describes what the bytes hold, not that they are bytes
  void raw.header('cache-control', 'private, no-cache').header('etag', etag);
  if (body === undefined) void raw.code(304).send();
  else void raw.type(JSON_TYPE).send(body);
}

function matches(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.split(',').some((candidate) => candidate.trim().replace(/^W\//, '') === etag);
}

export function offerNotFound(id: string): BrokerError {
  const shown = plainLine(id, 200);
  return new BrokerError({ code: 'offer_not_found', message: `offer not found: ${shown}`, details: { offer_id: shown } });
}

export function providerNotFound(provider: string, known: ReadonlySet<string>): BrokerError {
  return invalidInput([
    { field: 'provider', message: `not found: ${plainLine(provider, 100)}; on are ${[...known].join(', ') || 'none'}` },
  ]);
}
