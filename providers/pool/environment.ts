import { z } from 'zod';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';

const DEFAULT_IMAGE = 'berth-ssh';

/** The variables of the pool. */
export const Environment = z.object({
  PROVIDERS_POOL_ENABLED: flag().describe(
    'true or false: rent shares of this machine through its Docker engine. Unset: on when POOL_IMAGE is set.',
  ),
  POOL_IMAGE: z
    .string()
    .optional()
    .transform((text) => (text === '' ? undefined : text))
    .describe(
      'The image of a session, with an SSH server; it must be on the machine. Default berth-ssh, which "npm run image" makes.',
    ),
  POOL_PRICE_PER_HOUR: z
    .string()
    .default('0')
    .transform((text, context) => parsePrice(text) ?? refuse(context, `"${text}" is no price. Example: 0.50`))
    .describe("Dollars an hour for one GPU or, without GPUs, for one session's share of the machine. Default 0."),
  POOL_MAX_SESSIONS: optionalWhole({ min: 1, max: 1_024, example: '2' }).describe(
    'The most sessions at once, 1 to 1024; without GPUs also into how many shares the machine is cut. Default: one a GPU, or 2.',
  ),
  POOL_HOST: z
    .string()
    .default('127.0.0.1')
    .transform((text, context) =>
      /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$|^[0-9A-Fa-f:]+$/.test(text)
        ? text
        : refuse(context, `"${text}" is no address or name of this machine. Example: 127.0.0.1`),
    )
    .describe(
      'Address or name of this machine at which the SSH port of each session is published; 0.0.0.0 for every address. Default 127.0.0.1.',
    ),
  POOL_PIDS_LIMIT: optionalWhole({ min: 64, max: 4_194_304, example: '4096' })
    .transform((limit) => limit ?? 4_096)
    .describe('The most processes of one session, 64 to 4194304. Default 4096.'),
  POOL_ALLOW_PACKAGES: flag().describe(
    'true: root inside may also do what apt and dpkg need (DAC_OVERRIDE, FOWNER, FSETID), not only what sshd needs. Default false.',
  ),
  DOCKER_HOST: z
    .string()
    .optional()
    .transform((text) => (text === '' ? undefined : text))
    .describe(
      'The Docker engine, as for the docker command: unix:///var/run/docker.sock or tcp://127.0.0.1:2375. Default the usual socket.',
    ),
});

export type Environment = z.infer<typeof Environment>;

/** What the composition root hands to the runner and to the pool; their configurations are made of these. */
interface PoolSettings {
  readonly dockerHost?: string;
  readonly image: string;
  readonly publishHost: string;
  readonly priceMicrosPerHour: MicroUsd;
  readonly maxSessions?: number;
  readonly pidsLimit: number;
  readonly packageCapabilities: boolean;
}

export function poolSettings(environment: Environment): PoolSettings {
  return {
    ...(environment.DOCKER_HOST !== undefined && { dockerHost: environment.DOCKER_HOST }),
    image: environment.POOL_IMAGE ?? DEFAULT_IMAGE,
    publishHost: environment.POOL_HOST,
    priceMicrosPerHour: environment.POOL_PRICE_PER_HOUR,
    ...(environment.POOL_MAX_SESSIONS !== undefined && { maxSessions: environment.POOL_MAX_SESSIONS }),
    pidsLimit: environment.POOL_PIDS_LIMIT,
    packageCapabilities: environment.POOL_ALLOW_PACKAGES ?? false,
  };
}

function flag() {
  return z
    .enum(['true', 'false', ''], 'must be true or false')
    .optional()
    .transform((text) => (text === undefined || text === '' ? undefined : text === 'true'));
}

function optionalWhole({ min, max, example }: { min: number; max: number; example: string }) {
  const rule = `must be a whole number from ${min} to ${max}. Example: ${example}`;
  return z
    .string()
    .optional()
    .transform((text, context) => {
      if (text === undefined || text === '') return undefined;
      const value = /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : refuse(context, `"${text}" ${rule}`);
    });
}

const HIGHEST_PRICE_USD = 1_000;

function parsePrice(text: string): MicroUsd | undefined {
  if (!/^\d+(\.\d+)?$|^\.\d+$/.test(text.trim()) || Number(text) > HIGHEST_PRICE_USD) return undefined;
  return fromUsd(text.trim());
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
