import { z } from 'zod';
import { FAULTS, parseFaults } from './faults.ts';

/** The variables of the simulated market. */
export const Environment = z.object({
  PROVIDERS_SIMULATED_ENABLED: z
    .enum(['true', 'false', ''], 'must be true or false')
    .optional()
    .transform((text) => (text === undefined || text === '' ? undefined : text === 'true'))
    .describe(
      'true or false: the simulated market, which costs nothing and rents nothing. Unset: on only when no other provider is.',
    ),
  SIMULATED_OFFERS: number({ fallback: '120', min: 0, max: 1_000_000, isWhole: true }).describe(
    'How many hosts the simulated market has, 0 to 1000000. Default 120.',
  ),
  SIMULATED_INTERRUPTIBLE: number({ fallback: '0.25', min: 0, max: 1 }).describe(
    'The share of its hosts with GPUs that can be had for a bid as well, 0 to 1. Default 0.25.',
  ),
  SIMULATED_SEED: number({ fallback: '1', min: 0, max: 2 ** 31 - 1, isWhole: true }).describe(
    'The same seed makes the same offers, prices and faults. A whole number, default 1.',
  ),
  SIMULATED_CREATE_SECONDS: number({ fallback: '1', min: 0, max: 600 }).describe(
    'How long a create call takes, seconds, fractions allowed. Default 1.',
  ),
  SIMULATED_BOOT_SECONDS: number({ fallback: '2', min: 0, max: 86_400 }).describe(
    'How long an instance boots after the create, seconds, fractions allowed. Default 2.',
  ),
  SIMULATED_DESTROY_SECONDS: number({ fallback: '0.5', min: 0, max: 3_600 }).describe(
    'How long an instance takes to go after the destroy, seconds, fractions allowed. Default 0.5.',
  ),
  SIMULATED_PORTS: z
    .string()
    .default('20000-29999')
    .transform((text, context) => parsePorts(text) ?? refuse(context, `"${text}" is no range of ports. Example: 20000-29999`))
    .describe('The loopback ports of the simulated SSH servers, first-last. Default 20000-29999.'),
  SIMULATED_FAULTS: z
    .string()
    .default('')
    .transform((text, context) => {
      try {
        return parseFaults(text);
      } catch (error) {
        return refuse(context, error instanceof RangeError ? error.message : String(error));
      }
    })
    .describe(
      `How the market misbehaves: words of ${Object.keys(FAULTS).join(', ')} with rates 0 to 1, as in taken=0.1. Default: not.`,
    ),
});

export type Environment = z.infer<typeof Environment>;

export interface PortRange {
  readonly first: number;
  readonly last: number;
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
    });
}

function parsePorts(text: string): PortRange | undefined {
  const [, first, last] = /^\s*(\d{1,5})\s*-\s*(\d{1,5})\s*$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  return range.first >= 1024 && range.last >= range.first && range.last <= 65_535 ? range : undefined;
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
