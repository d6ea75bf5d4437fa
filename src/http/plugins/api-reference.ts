import helmet from '@fastify/helmet';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { STATUS_CODES } from 'node:http';
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod';

type Transforms = NonNullable<Parameters<typeof createJsonSchemaTransform>[0]['zodToJsonConfig']>;

/** What Zod's conversion adds and nobody needs to read. */
const zodToJsonConfig: Transforms = {
  override: ({ jsonSchema, zodSchema }) => {
    if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    // answers may gain fields: a client that refuses them would break with each
    const { def } = zodSchema._zod;
    if (def.type === 'object' && def.catchall === undefined) delete jsonSchema.additionalProperties;
  },
};

/** Of the interface, not of the program: it only ever grows. */
const API_VERSION = '1';

const TAGS = [
  { name: 'inventory', description: 'What can be rented now.' },
  { name: 'templates', description: 'What providers keep as recipes for instances.' },
  { name: 'sessions', description: 'Machines that are rented.' },
  { name: 'costs', description: 'What they cost.' },
  { name: 'operations', description: 'How the broker itself is doing.' },
  { name: 'benchmarks', description: 'Not available yet.' },
];

/** The OpenAPI document, made from the routes that are registered after this. */
export async function installApiDescription(app: FastifyInstance): Promise<void> {
  const toComponents = createJsonSchemaTransformObject({ zodToJsonConfig });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Berth',
        version: API_VERSION,
        description:
          'One inventory of GPU offers from clouds and own machines; sessions that are proven by SSH and surely destroyed. Times are RFC 3339 in UTC, money is US dollars.',
      },
      tags: TAGS,
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'Where API keys are configured; else nothing is asked for.' },
        },
      },
      security: [{ bearer: [] }, {}],
    },
    transform: createJsonSchemaTransform({ zodToJsonConfig }),
    transformObject: (documents) => pruned(withStatusNames(toComponents(documents))),
  });
}

/** The reference page at /docs; the document itself is at /docs/json. */
export async function installReferencePage(app: FastifyInstance): Promise<void> {
  await app.register(async (docs) => {
    // Over plain http, upgrade-insecure-requests would leave every page blank under the name of a machine, and HSTS cannot be taken back.
    await docs.register(helmet, {
      contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } },
      strictTransportSecurity: false,
    });
    await docs.register(swaggerUi, { routePrefix: '/docs', uiConfig: { docExpansion: 'list', deepLinking: true } });
  });
}

/** Answers without a description of their own are described by the name of their status. */
function withStatusNames<Document extends object>(document: Document): Document {
  const paths = (document as WithPaths).paths ?? {};
  for (const methods of Object.values(paths))
    for (const { responses = {} } of Object.values(methods))
      for (const [status, answer] of Object.entries(responses))
        if (answer.description === 'Default Response') answer.description = STATUS_CODES[status] ?? status;
  return document;
}

/** The part of a document that is looked at here; any OpenAPI 3.1 document has this shape. */
interface WithPaths {
  paths?: Record<string, Record<string, { responses?: Record<string, { description?: string }> }>>;
}

/** As above. */
interface WithSchemas {
  components?: { schemas?: Record<string, unknown> };
}

/** A twin for input is made of every schema; whatever nobody refers to goes, until nothing more does. What only comes in loses the twin's name. */
function pruned<Document extends object>(document: Document): Document {
  const { schemas = {} } = (document as WithSchemas).components ?? {};
  for (;;) {
    const used = new Set(JSON.stringify(document).match(/#\/components\/schemas\/[^"]+/g));
    const unused = Object.keys(schemas).filter((name) => !used.has(`#/components/schemas/${name}`));
    if (unused.length === 0) break;
    for (const name of unused) delete schemas[name];
  }
  const plain = JSON.stringify(document).replaceAll(/"(#\/components\/schemas\/)?(\w+)Input"(?=[:,}])/g, (text, path, name) =>
    Object.hasOwn(schemas, `${name}Input`) && !Object.hasOwn(schemas, name) ? `"${path ?? ''}${name}"` : text,
  );
  return JSON.parse(plain) as Document; // only names have changed
}
