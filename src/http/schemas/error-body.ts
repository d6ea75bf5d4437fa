import { z } from 'zod';
import { ERROR_CODES } from '../../core/errors.ts';

/** The one shape of every error; codes add fields of their own, docs/errors.md names them. */
export const ErrorBody = z
  .looseObject({
    error: z.string().describe('What went wrong and what helps, for people.'),
    error_type: z.enum(ERROR_CODES).describe('What went wrong, for machines; a promise.'),
    request_id: z.string().describe('The X-Request-ID of the request; the log knows it.'),
    fields: z
      .array(
        z.object({
          field: z.string().describe('Where it is: a path with dots, empty for the whole body.'),
          message: z.string().describe('What is wrong with it.'),
        }),
      )
      .optional()
      .describe('Everything that is wrong with the input, at once (invalid_request).'),
  })
  .meta({ id: 'Error', description: 'The shape of every error.' });

/** The error answers of a route, one schema for all. */
export function errorAnswers<const Status extends number>(...statuses: readonly Status[]): Record<Status, typeof ErrorBody> {
  // holds because every status gets its entry
  return Object.fromEntries(statuses.map((status) => [status, ErrorBody])) as Record<Status, typeof ErrorBody>;
}
