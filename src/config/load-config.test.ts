import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineProvider } from '../provider/provider-module.ts';
import type { ProviderModule } from '../provider/provider-module.ts';
import { listSettings } from './list-settings.ts';
import { loadConfig } from './load-config.ts';
import type { LoadedConfig } from './load-config.ts';
import type { Variables } from './variables.ts';

const SECRET = 'canary-6f1d5c0b9e7a4d3c';

function load(environment: Variables, { dotenvText, modules = [], readFile }: Partial<Parameters<typeof loadConfig>[0]> = {}) {
  return loadConfig({ environment, dotenvText, modules, ...(readFile && { readFile }) });
}

function configOf(loaded: LoadedConfig) {
  if (!loaded.ok) throw new Error(`refused: ${loaded.faults.join('; ')}`);
  return loaded.config;
}

function faultsOf(loaded: LoadedConfig): readonly string[] {
  return loaded.ok ? [] : loaded.faults;
}

/** A market that is on once it has its key. */
const market = defineProvider({
  id: 'vastai',
  environment: z.object({
    VASTAI_API_KEY: z.string().min(24, 'must have at least 24 characters').optional().describe('The key of the account.'),
    VASTAI_BASE_URL: z.url('must be an address').default('https://market.example').describe('Where the market answers.'),
  }),
  isOn: ({ VASTAI_API_KEY: key }) => key !== undefined,
  create: () => Promise.reject(new Error('not in this test')),
});

/** A market that fills an empty house. */
const filler = defineProvider({
  id: 'simulated',
  environment: z.object({
    PROVIDERS_SIMULATED_ENABLED: z
      .enum(['true', 'false'])
      .optional()
      .transform((word) => (word === undefined ? undefined : word === 'true'))
      .describe('true or false.'),
  }),
  isOn: ({ PROVIDERS_SIMULATED_ENABLED: isAskedFor }, { otherIsOn }) => isAskedFor ?? !otherIsOn,
  create: () => Promise.reject(new Error('not in this test')),
});

describe('loadConfig', () => {
  it('gives the documented defaults for an empty environment', () => {
    const config = configOf(load({}));

    expect(config.server).toMatchObject({ host: '127.0.0.1', port: 8080 });
    expect(config.database).toEqual({ path: './data/gpu-shopper.db' });
    expect(config.logging).toEqual({ level: 'info', format: 'json' });
    expect(config.lifecycle).toMatchObject({
      checkIntervalMs: 60_000,
      hardMaxHours: 12,
      shutdownTimeoutMs: 60_000,
      startupSweepEnabled: true,
    });
    expect(config.ssh).toMatchObject({ verifyTimeoutMs: 600_000, checkIntervalMs: 15_000, concurrency: 64 });
    expect(config.retention.sessionMs).toBe(90 * 86_400_000);
    expect(config.access).toEqual({ auth: 'keys', keys: [] });
  });

  it('has a default and an example for every setting that its own parser takes', () => {
    for (const { schema, variable, default: fallback, example, isSecret } of listSettings().flatMap(
      (section) => section.settings,
    )) {
      expect(schema.safeParse(fallback).success, `${variable}=${fallback}`).toBe(true);
      // The examples of secrets say how to make one.
      if (!isSecret) expect(schema.safeParse(example).success, `${variable}=${example}`).toBe(true);
    }
  });

  it('reports every fault at once, each with its variable and an example', () => {
    const loaded = load(
      {
        SERVER_PORT: '80a',
        LOG_LEVEL: 'loud',
        LIFECYCLE_CHECK_INTERVAL: '60',
        LIFECYCLE_STARTUP_SWEEP_ENABLED: 'maybe',
        DEPLOYMENT_ID: 'Prod-1',
        SSH_CONCURRENCY: '1e2',
        DATABASE_URL: `mysql://berth:${SECRET}@db/berth`,
        API_KEYS: 'ci=short',
        VASTAI_API_KEY: 'too-short',
        VASTAI_BASE_URL: 'nowhere',
      },
      { modules: [market] },
    );

    expect(faultsOf(loaded)).toEqual([
      'SERVER_PORT="80a": must be a whole number from 0 to 65535. Example: SERVER_PORT=8080',
      'API_KEYS: entry 1 must have a key of at least 16 characters. Example: API_KEYS=ci=<output of: openssl rand -hex 24>',
      'DATABASE_URL: must be the URL of a PostgreSQL database. Example: DATABASE_URL=postgresql://berth:<password>@127.0.0.1:5432/berth',
      'LOG_LEVEL="loud": must be debug or info or warn or error. Example: LOG_LEVEL=debug',
      'DEPLOYMENT_ID="Prod-1": must be 4 to 12 characters of a-z and 0-9. Example: DEPLOYMENT_ID=prod1',
      'LIFECYCLE_CHECK_INTERVAL="60": must be a duration with its unit (ms, s, m, h or d) from 100ms to 10m. Example: LIFECYCLE_CHECK_INTERVAL=1m',
      'LIFECYCLE_STARTUP_SWEEP_ENABLED="maybe": must be true or false (1, yes, on and 0, no, off mean the same). Example: LIFECYCLE_STARTUP_SWEEP_ENABLED=true',
      'SSH_CONCURRENCY="1e2": must be a whole number from 1 to 1024. Example: SSH_CONCURRENCY=64',
      'VASTAI_API_KEY: must have at least 24 characters',
      'VASTAI_BASE_URL="nowhere": must be an address',
    ]);
  });

  it('refuses each setting by itself when it cannot be read', () => {
    for (const { variable, isSecret, schema } of listSettings().flatMap((section) => section.settings)) {
      const nonsense = '\0';

      if (schema.safeParse(nonsense).success) continue; // settings that take any text but nothing
      const [fault, ...others] = faultsOf(load({ [variable]: nonsense }));
      expect(others).toEqual([]);
      expect(fault).toContain(variable);
      expect(fault).toContain('Example: ');
      if (isSecret) expect(fault).not.toContain('="');
    }
  });

  it.each([
    ['LOGGING_LEVEL', { LOGGING_LEVEL: 'debug' }, (config: ReturnType<typeof configOf>) => config.logging.level, 'debug'],
    ['LOG_LEVEL', { LOG_LEVEL: 'WARN' }, (config: ReturnType<typeof configOf>) => config.logging.level, 'warn'],
    ['LOGGING_FORMAT', { LOGGING_FORMAT: 'text' }, (config: ReturnType<typeof configOf>) => config.logging.format, 'text'],
    [
      'LIFECYCLE_DEPLOYMENT_ID',
      { LIFECYCLE_DEPLOYMENT_ID: 'prod1' },
      (config: ReturnType<typeof configOf>) => config.lifecycle.deploymentId,
      'prod1',
    ],
    [
      'DEPLOYMENT_ID',
      { DEPLOYMENT_ID: 'prod2' },
      (config: ReturnType<typeof configOf>) => config.lifecycle.deploymentId,
      'prod2',
    ],
  ])('honours the name %s', (_name, environment, read, expected) => {
    expect(read(configOf(load(environment)))).toBe(expected);
  });

  it('refuses two names of one setting that say different things, and takes them when they agree', () => {
    expect(faultsOf(load({ LOG_LEVEL: 'debug', LOGGING_LEVEL: 'info' }))).toEqual([
      'LOG_LEVEL and LOGGING_LEVEL: two names of the same setting that say different things. Keep one of them',
    ]);
    expect(configOf(load({ LOG_LEVEL: 'debug', LOGGING_LEVEL: 'debug' })).logging.level).toBe('debug');
  });

  it('names the fault by the name that was used', () => {
    expect(faultsOf(load({ LOGGING_LEVEL: 'loud' }))[0]).toMatch(/^LOGGING_LEVEL="loud"/);
  });

  it('PEER-11.2.27, PEER-10.62: the real environment beats .env, by whichever name it says it, and SERVER_HOST is honoured', () => {
    const dotenvText = 'SERVER_PORT=1111\nSERVER_HOST=127.0.0.5\nLOG_LEVEL=debug # quiet please\nIDLE_GPU_PERCENT="7"\n';

    const config = configOf(load({ SERVER_PORT: '2222', LOGGING_LEVEL: 'error' }, { dotenvText }));

    expect(config.server).toMatchObject({ host: '127.0.0.5', port: 2222 });
    expect(config.logging.level).toBe('error');
    expect(config.idle.gpuPercent).toBe(7);
  });

  it('takes an empty value for unset', () => {
    const dotenvText = 'SERVER_PORT=1111\nLOG_LEVEL=\n';

    const config = configOf(load({ SERVER_PORT: ' ', SSH_VERIFY_TIMEOUT: '' }, { dotenvText }));

    expect(config.server.port).toBe(1111);
    expect(config.logging.level).toBe('info');
    expect(config.ssh.verifyTimeoutMs).toBe(600_000);
  });

  it.each(['1h 30', '1m5', '-1s', '5', '1 parsec', 'PT1H', '1,5h', '∞s'])('refuses the duration %s', (text) => {
    expect(faultsOf(load({ LIFECYCLE_SHUTDOWN_TIMEOUT: text }))).toHaveLength(1);
  });

  it.each([
    ['90s', 90_000],
    ['1m30s', 90_000],
    ['0.5h', 1_800_000],
  ])('reads the duration %s', (text, ms) => {
    expect(configOf(load({ LIFECYCLE_SHUTDOWN_TIMEOUT: text })).lifecycle.shutdownTimeoutMs).toBe(ms);
  });

  it('refuses a default reservation beyond the maximum, and a minimum beyond the default', () => {
    const faults = faultsOf(
      load({ DEFAULT_RESERVATION_HOURS: '13', LIFECYCLE_HARD_MAX_HOURS: '2', MIN_RESERVATION_MINUTES: '1000' }),
    );

    expect(faults).toEqual([
      expect.stringMatching(/^DEFAULT_RESERVATION_HOURS="13": must not be longer than LIFECYCLE_HARD_MAX_HOURS \(2\)/),
      expect.stringMatching(/^MIN_RESERVATION_MINUTES="1000": must not be longer than DEFAULT_RESERVATION_HOURS/),
    ]);
  });
});

describe('who is let in', () => {
  it.each(['0.0.0.0', '::', '192.168.1.4', 'gpu.example.com', '[::]'])(
    'refuses to listen on %s when nobody is asked for a key',
    (host) => {
      const [fault, ...others] = faultsOf(load({ SERVER_HOST: host }));

      expect(others).toEqual([]);
      expect(fault).toContain(`SERVER_HOST="${host}"`);
      expect(fault).toContain('API_KEYS');
      expect(fault).toContain('AUTH=none');
    },
  );

  it.each(['127.0.0.1', '127.9.9.9', 'localhost', '::1', '[::1]', '::ffff:127.0.0.1'])('listens on %s without keys', (host) => {
    expect(configOf(load({ SERVER_HOST: host })).server.host).toBe(host);
  });

  it('listens anywhere with keys, or when told to be open', () => {
    expect(configOf(load({ SERVER_HOST: '0.0.0.0', API_KEYS: SECRET })).access.keys).toHaveLength(1);
    expect(configOf(load({ SERVER_HOST: '0.0.0.0', AUTH: 'none' })).access.auth).toBe('none');
  });

  it('refuses AUTH=none beside keys, since one of them is a mistake', () => {
    expect(faultsOf(load({ AUTH: 'none', API_KEYS: SECRET }))).toEqual([
      expect.stringMatching(/^AUTH=none: API keys are configured/),
    ]);
  });

  it('reads consumers and bare keys, padding included', () => {
    const { keys } = configOf(load({ API_KEYS: `ci=${SECRET}, c2VjcmV0LXNlY3JldA==,ci=${SECRET}-2` })).access;

    expect(keys.map(({ name, consumerId, secret }) => [name, consumerId, secret.reveal()])).toEqual([
      ['ci-1', 'ci', SECRET],
      ['default-1', 'default', 'c2VjcmV0LXNlY3JldA=='],
      ['ci-2', 'ci', `${SECRET}-2`],
    ]);
  });

  it('adds the keys of a file, with comments and a line each', () => {
    const readFile = (path: string) => (path === '/keys' ? `# the build\nci=${SECRET}\n\nalice=${SECRET}-2\n` : '');

    const { keys } = configOf(load({ API_KEYS: `bob=${SECRET}-3`, API_KEYS_FILE: '/keys' }, { readFile })).access;

    expect(keys.map(({ consumerId }) => consumerId)).toEqual(['bob', 'ci', 'alice']);
  });

  it('says what is wrong with a file of keys, by position and never by key', () => {
    const loaded = load(
      { SERVER_HOST: '0.0.0.0', API_KEYS: SECRET, API_KEYS_FILE: '/keys' },
      { readFile: () => `a b=${SECRET}-4\nx=${SECRET}\n` },
    );

    expect(faultsOf(loaded)).toEqual([
      expect.stringMatching(/^API_KEYS_FILE="\/keys": entry 1 must name its consumer/),
      expect.stringMatching(/^API_KEYS_FILE="\/keys": entry 2 must not repeat/),
    ]);
    expect(JSON.stringify(loaded)).not.toContain(SECRET);
  });

  it('refuses a file of keys that cannot be read', () => {
    expect(faultsOf(load({ API_KEYS_FILE: '/nowhere/keys' }))).toEqual([
      expect.stringMatching(/must be a file that can be read \(Error: ENOENT/),
    ]);
  });

  it('REL-L3: no secret stands in what is reported or in what the settings print', () => {
    const dotenvText = `DATABASE_URL=postgres://berth:${SECRET}@db/berth\n`;
    const quoting = defineProvider({
      id: 'loud',
      environment: z.object({
        LOUD_TOKEN: z
          .string()
          .refine(() => false, { error: (issue) => `${String(issue.input)} is bad` })
          .optional(),
      }),
      isOn: () => false,
      create: () => Promise.reject(new Error('not in this test')),
    });

    const good = load({ API_KEYS: `ci=${SECRET}` }, { dotenvText });
    const bad = load(
      { API_KEYS: `ci=${SECRET} oops`, LOUD_TOKEN: SECRET, PROVIDERS_VASTAI_API_KEY: SECRET.slice(0, 20), SERVER_PORT: 'x' },
      { dotenvText, modules: [quoting, market] },
    );

    expect(configOf(good).database.url?.reveal()).toContain(SECRET);
    expect(JSON.stringify(good)).not.toContain(SECRET);
    expect(faultsOf(bad)).toHaveLength(4);
    expect(JSON.stringify(bad)).not.toContain(SECRET.slice(0, 20));
  });
});

describe('providers', () => {
  const ids = (environment: Variables, modules: readonly ProviderModule[] = [filler, market]) => {
    const loaded = load(environment, { modules });
    return loaded.ok ? loaded.providers.map(({ id }) => id) : loaded.faults;
  };
  const key = 'k'.repeat(24);

  it.each([
    ['nothing is set', {}, ['simulated']],
    ['a market has its key', { VASTAI_API_KEY: key }, ['vastai']],
    ['a market has its key by the long name', { PROVIDERS_VASTAI_API_KEY: key }, ['vastai']],
    ['the filler is asked for beside it', { VASTAI_API_KEY: key, PROVIDERS_SIMULATED_ENABLED: 'yes' }, ['simulated', 'vastai']],
    ['the market is switched off', { VASTAI_API_KEY: key, PROVIDERS_VASTAI_ENABLED: 'false' }, ['simulated']],
    ['the filler is switched off', { PROVIDERS_SIMULATED_ENABLED: '0' }, []],
    [
      'a switch is unreadable',
      { PROVIDERS_VASTAI_ENABLED: 'x' },
      ['PROVIDERS_VASTAI_ENABLED="x": must be true or false. Example: PROVIDERS_VASTAI_ENABLED=true'],
    ],
  ])('are on as configured when %s', (_when, environment, expected) => {
    expect(ids(environment)).toEqual(expected);
  });

  it('warns of a provider that is switched on and lacks what it needs', () => {
    const loaded = load({ PROVIDERS_VASTAI_ENABLED: 'true' }, { modules: [market, filler] });

    expect(loaded.warnings).toEqual([expect.stringMatching(/^PROVIDERS_VASTAI_ENABLED=true, but vastai stays off/)]);
    expect(loaded.ok && loaded.providers.map(({ id }) => id)).toEqual(['simulated']);
  });

  it('does not look at the block of a provider that is switched off', () => {
    expect(ids({ VASTAI_BASE_URL: 'nowhere', PROVIDERS_VASTAI_ENABLED: 'false' })).toEqual(['simulated']);
  });

  it('hands a provider its own parsed block', async () => {
    const seen: unknown[] = [];
    const spy = { ...market, create: (environment: unknown) => (seen.push(environment), Promise.reject(new Error('enough'))) };
    const loaded = load({ VASTAI_API_KEY: key }, { modules: [spy] });

    const [provider] = loaded.ok ? loaded.providers : [];
    // Holds because the provider of this test looks at nothing that it is handed.
    await expect(provider?.create({} as never)).rejects.toThrow('enough');

    expect(seen).toEqual([{ VASTAI_API_KEY: key, VASTAI_BASE_URL: 'https://market.example' }]);
  });
});

describe('names that nobody reads', () => {
  const warningsOf = (environment: Variables, dotenvText?: string) =>
    load(environment, { modules: [market, filler], dotenvText }).warnings;

  it.each([
    ['LIFECYCLE_CHEK_INTERVAL', 'LIFECYCLE_CHECK_INTERVAL'],
    ['SERVER_PROT', 'SERVER_PORT'],
    ['HARD_MAX_HOURS', 'LIFECYCLE_HARD_MAX_HOURS'],
    ['PROVIDERS_VASTAI_API_KEYS', 'PROVIDERS_VASTAI_API_KEY'],
  ])('are told with what was probably meant: %s', (name, meant) => {
    expect(warningsOf({ [name]: SECRET })).toEqual([`${name} is set, but nothing reads it; did you mean ${meant}?`]);
  });

  it('are told without advice where nothing is near', () => {
    expect(warningsOf({ BLUELOBSTER_API_KEY: SECRET })).toEqual(['BLUELOBSTER_API_KEY is set, but nothing reads it']);
  });

  it('are searched in .env without regard to the prefix', () => {
    expect(warningsOf({ LOK_LEVEL: 'x' }, 'LOK_LEVEL=debug\nCOMPOSE_PROJECT=berth\n')).toEqual([
      'LOK_LEVEL is set, but nothing reads it; did you mean LOG_LEVEL?',
    ]);
  });

  it('are not those of the system or of other programs', () => {
    expect(
      warningsOf({
        SSH_AUTH_SOCK: '/x',
        SSH_CONNECTION: 'x',
        PATH: '/bin',
        SERVER_SERVICE_HOST: '10.0.0.1',
        SERVER_PORT_80_TCP: 'tcp://10.0.0.1:80',
        HOME: '/',
      }),
    ).toEqual([]);
  });
});
