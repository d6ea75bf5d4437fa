import { z } from 'zod';
import { line, lines, onlyDefault, oneOrMore } from './body-values.ts';

export const WORKLOAD_TYPES = [
  'llm',
  'llm_vllm',
  'llm_tgi',
  'training',
  'batch',
  'interactive',
  'inference',
  'ssh',
  'benchmark',
] as const;

const ENVIRONMENT_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const IMAGE = /^[a-z0-9][a-z0-9._:@/-]{0,254}$/i;
const HIGHEST_PRICE = 1_000_000;

const price = z.number().min(0).max(HIGHEST_PRICE);
const image = z
  .string()
  .max(255)
  .refine(
    (text) => text === '' || IMAGE.test(text),
    'must be the name of a container image, such as nvidia/cuda:12.4.1-base-ubuntu22.04',
  );

/** What is needed, when no offer is named: the broker takes the cheapest that fits and, while offers prove to be gone, the next. */
const requirements = {
  gpu_type: oneOrMore(line(100, 1))
    .optional()
    .describe('Instead of offer_id: in any case, with or without spaces; several are alternatives.'),
  min_vram: z.number().min(0).max(1_000_000).optional().describe('Instead of offer_id: GB of each GPU at least.'),
  gpu_count: z.int().min(0).max(1_000).optional().describe('Instead of offer_id: exactly so many GPUs.'),
  provider: oneOrMore(line(64, 1)).optional().describe('Instead of offer_id: one of these providers.'),
  location: oneOrMore(line(200, 1))
    .optional()
    .describe('Instead of offer_id: a country in two letters (US), or a part of the location, in any case.'),
  min_reliability: z.number().min(0).max(1).optional().describe('Instead of offer_id: 0 to 1.'),
  interruptible: z
    .boolean()
    .optional()
    .describe(
      'Instead of offer_id. true: one that goes to whoever bids more, at any time and without notice. Never picked unless asked for.',
    ),
};

/** The fields that say what is needed; none of them stands beside offer_id. max_price stands beside both. */
export const REQUIREMENTS = Object.keys(requirements) as readonly (keyof typeof requirements)[]; // holds: the object was just written

export const SessionRequest = z
  .strictObject({
    consumer_id: line(128, 1).optional().describe("Whose it is: the key's consumer, or default."),
    offer_id: line(512, 1)
      .optional()
      .describe('An offer of the inventory. Without it the broker chooses by what is needed: gpu_type, min_vram and so on.'),
    ...requirements,
    max_price: price.optional().describe('US dollars an hour for the whole offer with the disk; 0 sets no limit.'),
    bid_price: z
      .number()
      .positive()
      .max(HIGHEST_PRICE)
      .optional()
      .describe(
        "For an interruptible offer: US dollars an hour for the whole offer without its disk, which is what you pay. At least the offer's min_bid, with the disk at most max_price. Unless given, min_bid and a margin.",
      ),
    workload_type: z.enum(WORKLOAD_TYPES).optional().describe('A note; ssh unless given.'),
    reservation_hours: z
      .number()
      .min(0)
      .max(8_760)
      .optional()
      .describe('Fractions are allowed; the configured default unless given.'),
    idle_threshold_minutes: z.int().min(0).max(525_600).optional().describe('End it after so long without use; 0 for never.'),
    ssh_public_key: lines(20_000)
      .optional()
      .describe('One line of a .pub file. Without it a pair is made and its private key returned once.'),
    image: image.optional().describe("A container image; the provider's default unless given."),
    docker_image: image.optional().describe('The same as image.'),
    env: z
      .record(z.string().regex(ENVIRONMENT_NAME, 'must be letters, digits and underscores, no digit first'), lines(32_768))
      .refine((variables) => Object.keys(variables).length <= 100, 'must have at most 100 entries')
      .optional()
      .describe('Environment variables of the instance.'),
    name: line(128).optional(),
    metadata: z
      .record(line(64, 1), line(1_024))
      .refine((entries) => Object.keys(entries).length <= 50, 'must have at most 50 entries')
      .optional()
      .describe("The consumer's own notes."),
    disk_gb: z
      .int()
      .min(0)
      .max(1_000_000)
      .optional()
      .describe("GB; 0 or absent for what model_id or the template needs, else for the offer's own."),
    on_start_cmd: lines(65_536).optional().describe('A script that runs at boot.'),
    ssh_timeout_minutes: z
      .int()
      .min(0)
      .max(1_440)
      .optional()
      .describe('How long it may take until SSH works; 0 for the configured time.'),
    auto_retry: z.boolean().optional().describe('Try another offer when this one proves to be gone or does not boot.'),
    max_retries: z.int().min(0).max(1_000).optional().describe('With auto_retry: 1 to 5; 0 means 3, more than 5 means 5.'),
    retry_scope: z
      .enum(['', 'same_gpu', 'same_vram', 'any'])
      .optional()
      .describe('Where the replacement is looked for; same_gpu unless given.'),
    max_attempts: z.int().min(1).max(100).optional().describe('Create calls at most, over all offers.'),
    storage_policy: z
      .enum(['', 'destroy', 'preserve'])
      .optional()
      .describe('destroy. preserve is accepted, does nothing, and is answered with a warning.'),
    launch_mode: onlyDefault(['', 'ssh'], 'entrypoint is not available yet; leave it out or send ssh').describe('ssh.'),
    model_id: line(256)
      .optional()
      .describe('The model that will be run, such as meta-llama/Llama-3.1-8B: the disk is sized for it. Nothing is installed.'),
    quantization: line(64).optional().describe('How the model is packed, such as FP8, AWQ or INT4; it counts for the disk.'),
    template_hash_id: z
      .string()
      .regex(/^[A-Za-z0-9_-]{0,128}$/, 'must be a hash_id of GET /api/v1/templates')
      .optional()
      .describe(
        "A template of the offer's provider: it gives the image, the boot script and the disk that the request leaves out, and its variables stand beside env.",
      ),
    exposed_ports: z
      .array(z.int())
      .max(0, 'is not available yet; leave it out, and reach ports through ssh -L')
      .optional()
      .describe('Not available yet.'),
  })
  .meta({ id: 'SessionRequest' });

export type SessionRequest = z.infer<typeof SessionRequest>;

export const IdempotencyKeyHeader = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 visible ASCII characters')
    .optional()
    .describe(
      'A name of your own for this request: repeated with the same body it answers the same session, and never makes a second.',
    ),
});
