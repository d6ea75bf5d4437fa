import { z } from 'zod';
import { Secret } from '../../src/core/secret.ts';
import { mayCarryCredentials, parseBaseUrl } from '../../src/provider/http-client.ts';

export const DEFAULT_BASE_URL = 'https://dashboard.tensordock.com';
const DEFAULT_IMAGE = 'ubuntu2204';
const DEFAULT_DRIVER = 'nvidia-driver-550';
/** For images that bring their driver, and for those who would rather install it themselves. */
const NO_DRIVER = 'none';

/** The variables of TensorDock. */
export const Environment = z
  .object({
    TENSORDOCK_API_TOKEN: credential().describe(
      'The API token of the TensorDock organisation: the token, not the Authorization ID. Unset: TensorDock is off.',
    ),
    TENSORDOCK_AUTH_ID: credential().describe(
      'The Authorization ID that belongs to the token. Accepted for those who have it set; the present API does not need it, and it is never sent.',
    ),
    TENSORDOCK_BASE_URL: z
      .string()
      .default(DEFAULT_BASE_URL)
      .transform(
        (text, context) => parseBaseUrl(text.trim() || DEFAULT_BASE_URL) ?? refuse(context, 'must be an http or https URL'),
      )
      .meta({ example: DEFAULT_BASE_URL })
      .describe(`Where the API is, with or without /api/v2. Default ${DEFAULT_BASE_URL}.`),
    TENSORDOCK_ALLOW_PLAIN_HTTP: flag({ fallback: 'false' }).describe(
      'true: the API token may travel over plain HTTP to another machine. Default false.',
    ),
    TENSORDOCK_DEFAULT_IMAGE: z
      .string()
      .default(DEFAULT_IMAGE)
      .transform((text, context) => {
        const image = text.trim() || DEFAULT_IMAGE;
        return isImage(image) ? image : refuse(context, `must be an image of TensorDock. Example: ${DEFAULT_IMAGE}`);
      })
      .meta({ example: DEFAULT_IMAGE })
      .describe(`The operating system of a session that names no image. Default ${DEFAULT_IMAGE}.`),
    TENSORDOCK_DRIVER_PACKAGE: z
      .string()
      .default(DEFAULT_DRIVER)
      .transform((text, context) => {
        const name = text.trim() || DEFAULT_DRIVER;
        if (name === NO_DRIVER) return undefined;
        return /^nvidia-[a-z0-9.-]{1,60}$/.test(name)
          ? name
          : refuse(context, `must be an Ubuntu package of the NVIDIA driver, or none. Example: ${DEFAULT_DRIVER}`);
      })
      .meta({ example: DEFAULT_DRIVER })
      .describe(
        `The Ubuntu package that is installed at boot where the image brings no working GPU driver; none: nothing is. Default ${DEFAULT_DRIVER}.`,
      ),
    TENSORDOCK_VCPUS_PER_GPU: number({ fallback: '8', min: 2, max: 256 }).describe(
      'How many virtual cores to rent with each GPU, as far as the machine has them; rounded down to an even number. Default 8.',
    ),
    TENSORDOCK_RAM_GB_PER_GPU: number({ fallback: '32', min: 2, max: 512 }).describe(
      'How much memory to rent with each GPU, GB, as far as the machine has it; rounded down to a size that is sold. Default 32.',
    ),
    TENSORDOCK_LIST_HOSTNODES: flag({ fallback: 'true' }).describe(
      'false: only locations are offered, not single host nodes. Default true.',
    ),
  })
  .superRefine(
    ({ TENSORDOCK_API_TOKEN: token, TENSORDOCK_BASE_URL: url, TENSORDOCK_ALLOW_PLAIN_HTTP: allowPlainHttp }, context) => {
      if (token === undefined || mayCarryCredentials(url, { allowPlainHttp })) return;
      context.addIssue({
        code: 'custom',
        path: ['TENSORDOCK_BASE_URL'],
        message:
          'would carry the API token unencrypted to another machine: use https, or set TENSORDOCK_ALLOW_PLAIN_HTTP=true to allow that',
      });
    },
  );

export type Environment = z.infer<typeof Environment>;

/** An operating system by their name for it; they have a handful, and other ones from time to time. */
export function isImage(text: string): boolean {
  return /^[a-z0-9][a-z0-9_.-]{1,63}$/.test(text);
}

function credential() {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const value = text?.trim() ?? '';
      if (value === '') return undefined;
      return /^[\x21-\x7e]{8,512}$/.test(value)
        ? new Secret(value)
        : refuse(context, 'must be the value itself: 8 to 512 printable characters without spaces');
    })
    .meta({ isSecret: true });
}

function flag({ fallback }: { fallback: 'true' | 'false' }) {
  return z
    .enum(['true', 'false', ''], 'must be true or false')
    .optional()
    .transform((text) => (text || fallback) === 'true');
}

function number({ fallback, min, max }: { fallback: string; min: number; max: number }) {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const value = /^\d{1,6}$/.test(text.trim()) ? Number(text) : Number.NaN;
      const rule = `must be a whole number from ${min} to ${max}. Example: ${fallback}`;
      return value >= min && value <= max ? value : refuse(context, `"${text}" ${rule}`);
    })
    .meta({ example: fallback });
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
