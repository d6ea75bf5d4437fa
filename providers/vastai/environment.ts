import { z } from 'zod';
import { Secret } from '../../src/core/secret.ts';
import { mayCarryCredentials, parseBaseUrl } from '../../src/provider/http-client.ts';

export const DEFAULT_BASE_URL = 'https://console.vast.ai';

/** The variables of Vast.ai. */
export const Environment = z
  .object({
    VASTAI_API_KEY: z
      .string()
      .optional()
      .transform((text, context) => {
        const key = text?.trim() ?? '';
        if (key === '') return undefined;
        return /^[\x21-\x7e]{8,512}$/.test(key)
          ? new Secret(key)
          : refuse(context, 'must be the key itself: 8 to 512 printable characters without spaces');
      })
      .meta({ isSecret: true })
      .describe(
        'The API key of the Vast.ai account. Unset: Vast.ai is off. Scopes: instance_read, instance_write, user_read, misc; with billing_read its own charges are compared.',
      ),
    VASTAI_BASE_URL: z
      .string()
      .default(DEFAULT_BASE_URL)
      .transform(
        (text, context) => parseBaseUrl(text.trim() || DEFAULT_BASE_URL) ?? refuse(context, `must be an http or https URL`),
      )
      .meta({ example: DEFAULT_BASE_URL })
      .describe(`Where the API is, with or without /api/v0. Default ${DEFAULT_BASE_URL}.`),
    VASTAI_ALLOW_PLAIN_HTTP: z
      .enum(['true', 'false', ''], 'must be true or false')
      .optional()
      .transform((text) => text === 'true')
      .describe('true: the API key may travel over plain HTTP to another machine. Default false.'),
    VASTAI_DEFAULT_IMAGE: z
      .string()
      .default('nvidia/cuda:12.6.3-runtime-ubuntu22.04')
      .transform((text, context) =>
        isImage(text) ? text : refuse(context, 'must be the name of an image, at most 1024 characters'),
      )
      .meta({ example: 'nvidia/cuda:12.6.3-runtime-ubuntu22.04' })
      .describe('The image of a session that names none. Default nvidia/cuda:12.6.3-runtime-ubuntu22.04.'),
    VASTAI_MIN_RELIABILITY: number({ fallback: '0.95', min: 0, max: 1 }).describe(
      'Offers of machines below it are not shown, 0 to 1. Default 0.95.',
    ),
    VASTAI_OFFERS_PER_SEARCH: number({ fallback: '64', min: 1, max: 5_000, isWhole: true }).describe(
      'How many offers a search asks for, 1 to 5000; the more, the rarer the searches, since rows are counted a day. Default 64.',
    ),
    VASTAI_INTERRUPTIBLE_OFFERS: number({ fallback: '32', min: 0, max: 5_000, isWhole: true }).describe(
      'How many interruptible offers are asked for besides, 0 to 5000; 0 lists none. They count as rows like the others. Default 32.',
    ),
    VASTAI_OFFER_ROWS_PER_DAY: number({ fallback: '20000', min: 1_000, max: 10_000_000, isWhole: true }).describe(
      'How many offer rows the account may be sent a day; a tenth of it is kept in hand. Default 20000.',
    ),
  })
  .superRefine(({ VASTAI_API_KEY: key, VASTAI_BASE_URL: url, VASTAI_ALLOW_PLAIN_HTTP: allowPlainHttp }, context) => {
    if (key === undefined || mayCarryCredentials(url, { allowPlainHttp })) return;
    context.addIssue({
      code: 'custom',
      path: ['VASTAI_BASE_URL'],
      message:
        'would carry the API key unencrypted to another machine: use https, or set VASTAI_ALLOW_PLAIN_HTTP=true to allow that',
    });
  });

export type Environment = z.infer<typeof Environment>;

export function isImage(text: string): boolean {
  return /^[A-Za-z0-9][\w.\-/:@]{0,1023}$/.test(text);
}

function number({ fallback, min, max, isWhole = false }: { fallback: string; min: number; max: number; isWhole?: boolean }) {
  const rule = `must be a ${isWhole ? 'whole ' : ''}number from ${min} to ${max}. Example: ${fallback}`;
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const value = /^\d*\.?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
      const fits = value >= min && value <= max && (!isWhole || Number.isInteger(value));
      return fits ? value : refuse(context, `"${text}" ${rule}`);
    })
    .meta({ example: fallback });
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
