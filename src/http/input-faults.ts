import { z } from 'zod';
import { nearestName } from '../config/nearest-name.ts';
import { BrokerError } from '../core/errors.ts';
import { plainLine } from '../core/text.ts';

export interface Fault {
  /** A path with dots; empty for the whole. */
  readonly field: string;
  readonly message: string;
}

/** Where the input stood, for words that fit. */
export type InputPart = 'body' | 'querystring' | 'params' | 'headers';

/** As many are told; a body has more only if somebody means harm. */
const MOST_FAULTS = 50;
const ZODS_OWN_WORDS = /^(Invalid|Too |Unrecognized)/;

/** The 400 that names every fault at once, in the form `<field> <message>; …` that existing clients show. */
export function invalidInput(faults: readonly Fault[]): BrokerError {
  return new BrokerError({
    code: 'invalid_request',
    message: faults.map(({ field, message }) => (field === '' ? message : `${field} ${message}`)).join('; '),
    details: { fields: faults },
  });
}

/** What such a 400 names; nothing for any other error. */
export function faultsIn(error: unknown): readonly Fault[] {
  if (!(error instanceof BrokerError) || error.code !== 'invalid_request') return [];
  const { fields = [] } = error.details;
  return fields as readonly Fault[]; // holds because only invalidInput puts fields there
}

/** What a schema has to say about an input, in sentences that name the field and the fix. */
export function faultsOf(
  error: z.core.$ZodError,
  { schema, input, part }: { readonly schema: z.core.$ZodType; readonly input: unknown; readonly part: InputPart },
): Fault[] {
  const describe = (issue: z.core.$ZodIssue, above: readonly PropertyKey[]): Fault[] => {
    const path = [...above, ...issue.path];
    const field = plainLine(path.map(String).join('.'), 200);
    const fault = (message: string) => [{ field, message }];
    // a schema that says something of its own says it better
    if (issue.code !== 'invalid_union' && !ZODS_OWN_WORDS.test(issue.message)) return fault(issue.message);
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.slice(0, MOST_FAULTS).map((key) => ({
          field: plainLine([...path, key].map(String).join('.'), 200),
          message: unknownName(key, namesAt(schema, path), part),
        }));
      case 'invalid_type':
        return fault(typeMessage(issue.expected, valueAt(input, path), { part, isWhole: path.length === 0 }));
      case 'invalid_value':
        return fault(choiceMessage(issue.values.map(String), valueAt(input, path)));
      case 'too_small':
        if (issue.minimum === 1 && unit(issue.origin) !== '') return fault('must not be empty');
        return fault(
          `must ${sized(issue.origin)} ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${unit(issue.origin)}`,
        );
      case 'too_big':
        return fault(`must ${sized(issue.origin)} at most ${issue.maximum}${unit(issue.origin)}`);
      case 'invalid_union': {
        // the branch that the input was meant for is the one whose fault lies deeper than its type
        const [meant] = issue.errors.filter(
          (branch) => !branch.some(({ code, path: at }) => code === 'invalid_type' && at.length === 0),
        );
        return meant ? meant.slice(0, MOST_FAULTS).flatMap((inner) => describe(inner, path)) : fault(issue.message);
      }
      case 'invalid_key':
        return fault(issue.issues[0]?.message ?? issue.message);
      case 'invalid_format':
      case 'invalid_element':
      case 'not_multiple_of':
      case 'custom':
        return fault(issue.message);
    }
  };
  const faults: Fault[] = [];
  for (const issue of error.issues) {
    faults.push(...describe(issue, []));
    if (faults.length >= MOST_FAULTS) break;
  }
  return faults.slice(0, MOST_FAULTS);
}

function unknownName(key: string, known: readonly string[], part: InputPart): string {
  const meant = nearestName(key.slice(0, 64), known);
  const what = part === 'querystring' ? 'is no query parameter of this route' : 'is no field of this request';
  return meant === undefined ? `${what}; known are ${known.join(', ') || 'none'}` : `${what}; did you mean ${meant}?`;
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function typeMessage(expected: string, value: unknown, { part, isWhole }: { part: InputPart; isWhole: boolean }): string {
  if (isWhole && part === 'body') return 'the body must be a JSON object, sent with Content-Type: application/json';
  if (value === undefined) return 'is required';
  if (part === 'querystring' && Array.isArray(value)) return 'must be given once';
  const wanted = EXPECTED[expected] ?? expected;
  return value === null ? `must be ${wanted}, not null; leave it out instead` : `must be ${wanted}`;
}

function choiceMessage(choices: readonly string[], value: unknown): string {
  const meant = typeof value === 'string' ? nearestName(value.slice(0, 64), choices) : undefined;
  return `must be one of ${choices.join(', ')}${meant === undefined ? '' : `; did you mean ${meant}?`}`;
}

const sized = (origin: string) => (unit(origin) === '' ? 'be' : 'have');
const unit = (origin: string) =>
  origin === 'string' ? ' characters' : origin === 'array' || origin === 'set' ? ' entries' : '';

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key]; // holds: it is an object that has the key
  }
  return value;
}

/** The names that an object has at a place of a schema, seen through optional, default and pipe. */
function namesAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  let at: z.core.$ZodType | undefined = bare(schema);
  for (const key of path) at = at instanceof z.core.$ZodObject ? bare(at._zod.def.shape[String(key)]) : undefined;
  return at instanceof z.core.$ZodObject ? Object.keys(at._zod.def.shape) : [];
}

function bare(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  if (schema instanceof z.core.$ZodOptional || schema instanceof z.core.$ZodDefault) return bare(schema._zod.def.innerType);
  return schema instanceof z.core.$ZodPipe ? bare(schema._zod.def.in) : schema;
}
