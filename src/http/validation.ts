import type { FastifySchemaCompiler } from 'fastify';
import { z } from 'zod';
import { faultsOf, invalidInput, type InputPart } from './input-faults.ts';

/**
 * Checks input against Zod schemas without bending it: nothing is coerced, a null is no zero (REL-K6), an unknown name is a fault.
 * An empty query parameter is an absent one, as existing clients send it.
 */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const part = httpPart as InputPart; // Fastify knows no other parts
  return (input: unknown) => {
    const given = part === 'querystring' ? withoutEmpty(input) : input;
    const parsed = schema.safeParse(given);
    if (parsed.success) return { value: parsed.data };
    return { error: invalidInput(faultsOf(parsed.error, { schema, input: given, part })) };
  };
};

/** For hot routes: a header that any text is good for is described and not checked. */
export const validatorCompilerPastHeaders: FastifySchemaCompiler<unknown> = ({ schema, ...route }) =>
  // holds because every schema of this app is one of Zod's
  route.httpPart === 'headers' ? () => true : validatorCompiler({ ...route, schema: schema as z.ZodType });

function withoutEmpty(query: unknown): unknown {
  if (typeof query !== 'object' || query === null) return query;
  const kept = Object.create(null) as Record<string, unknown>; // no prototype, so that __proto__ is a name like any other
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) {
      const texts = value.filter((text) => text !== '');
      if (texts.length > 0) kept[name] = texts.length === 1 ? texts[0] : texts;
    } else if (value !== '') kept[name] = value;
  }
  return kept;
}
