import { z } from 'zod';
import { DEPLOYMENT_ID_RULE, parseDeploymentId } from '../provider/ownership-tag.ts';
import { parseApiKeyList } from './api-key-list.ts';
import { parsePortRange } from './port-range.ts';
import { optionalSetting, section, setting } from './setting.ts';
import {
  boolean,
  choice,
  decimalNumber,
  duration,
  filePath,
  parsed,
  plainText,
  secretText,
  wholeNumber,
} from './setting-kinds.ts';

/**
 * Every setting of the broker but the providers' own blocks, which stand in their folders. Read by `loadConfig` only: everybody else is
 * handed the values. Names are promises; a new one is added, an old one is never given another meaning.
 */
export const Settings = z.strictObject({
  server: section('Server', {
    host: setting(plainText({ pattern: /^[\w.:[\]%-]+$/, rule: 'must be an address or a host name, without port' }), {
      variable: 'SERVER_HOST',
      description:
        'Address to listen on. Anything but a loopback address lets other machines in, and is refused without API_KEYS (or AUTH=none).',
      default: '127.0.0.1',
      example: '127.0.0.1',
    }),
    port: setting(wholeNumber({ min: 0, max: 65_535 }), {
      variable: 'SERVER_PORT',
      description: 'TCP port to listen on; 0 takes a free one, which the log tells.',
      default: '8080',
      example: '8080',
    }),
    requestTimeoutMs: setting(duration({ min: '1s', max: '10m' }), {
      variable: 'REQUEST_TIMEOUT',
      description: 'How long a client may take to send its request.',
      default: '60s',
      example: '60s',
    }),
    maxBodyBytes: setting(wholeNumber({ min: 1_024, max: 64 * 1_048_576 }), {
      variable: 'MAX_BODY_BYTES',
      description: 'Largest request body, bytes.',
      default: '1048576',
      example: '1048576',
    }),
    rateLimitPerMinute: setting(wholeNumber({ min: 0, max: 10_000_000 }), {
      variable: 'RATE_LIMIT_PER_MINUTE',
      description: 'Requests a minute that one key (without keys: one address) may make; 0 sets no limit.',
      default: '0',
      example: '600',
    }),
    docsEnabled: setting(boolean(), {
      variable: 'DOCS_ENABLED',
      description: 'Whether the API reference is served at /docs.',
      default: 'true',
      example: 'false',
    }),
  }),

  access: section('Access', {
    keys: optionalSetting(parsed(parseApiKeyList), {
      variable: 'API_KEYS',
      description:
        'Bearer keys that let callers in, separated by commas: `consumer=key`, or a bare `key` for the consumer `default`; at least 16 characters each. Unset: nobody is asked for a key.',
      example: 'ci=<output of: openssl rand -hex 24>',
      isSecret: true,
    }),
    keysFile: optionalSetting(filePath(), {
      variable: 'API_KEYS_FILE',
      description:
        'A file with further keys, one entry a line in the form of API_KEYS; a line that begins with # is a comment.',
      example: '/run/secrets/api-keys',
    }),
    auth: setting(choice(['keys', 'none']), {
      variable: 'AUTH',
      description:
        'keys: a caller must show a key as soon as one is configured. none: deliberately open, even on an address that other machines reach.',
      default: 'keys',
      example: 'none',
    }),
  }),

  database: section('Database and secrets', {
    path: setting(filePath(), {
      variable: 'DATABASE_PATH',
      description: 'The SQLite file; its folder is made if need be, and holds the secret key and what providers keep.',
      default: './data/gpu-shopper.db',
      example: './data/gpu-shopper.db',
    }),
    url: optionalSetting(secretText({ pattern: /^postgres(ql)?:\/\/\S+$/, rule: 'must be the URL of a PostgreSQL database' }), {
      variable: 'DATABASE_URL',
      description: 'PostgreSQL instead of SQLite. Unset: SQLite at DATABASE_PATH.',
      example: 'postgresql://berth:<password>@127.0.0.1:5432/berth',
      isSecret: true,
    }),
    secretKeyFile: optionalSetting(filePath(), {
      variable: 'SECRET_KEY_FILE',
      description:
        'The key that encrypts stored secrets: 32 bytes, raw or as base64 or hex, readable by nobody else. Unset: secret.key beside the database, made at the first start.',
      example: '/run/secrets/berth-secret-key',
    }),
  }),

  logging: section('Logging', {
    level: setting(choice(['debug', 'info', 'warn', 'error']), {
      variable: 'LOG_LEVEL',
      aliases: ['LOGGING_LEVEL'],
      description: 'The least important lines that are written: debug, info, warn or error.',
      default: 'info',
      example: 'debug',
    }),
    format: setting(choice(['json', 'text']), {
      variable: 'LOG_FORMAT',
      aliases: ['LOGGING_FORMAT'],
      description: 'json: an object a line. text: for people.',
      default: 'json',
      example: 'text',
    }),
  }),

  inventory: section('Inventory', {
    refreshMs: optionalSetting(duration({ min: '1s', max: '1h' }), {
      variable: 'INVENTORY_DEFAULT_CACHE_TTL',
      description:
        "How often a provider's offers are listed again at the most. Unset: in the provider's own rhythm (own machines 5 s, clouds 1 m), which is also the fastest.",
      example: '2m',
    }),
    backoffMs: setting(duration({ min: '1s', max: '1h' }), {
      variable: 'INVENTORY_BACKOFF_CACHE_TTL',
      description:
        'The longest pause before a provider that failed is asked for its offers again; stale offers are served meanwhile, with their time.',
      default: '5m',
      example: '5m',
    }),
  }),

  lifecycle: section('Life cycle', {
    deploymentId: optionalSetting(
      parsed((text) => {
        const value = parseDeploymentId(text);
        return value === undefined ? { ok: false, rules: [`must be ${DEPLOYMENT_ID_RULE}`] } : { ok: true, value };
      }),
      {
        variable: 'DEPLOYMENT_ID',
        aliases: ['LIFECYCLE_DEPLOYMENT_ID'],
        description: `Which installation owns an instance: ${DEPLOYMENT_ID_RULE}. Unset: made once and kept in the database; another than the database's is refused.`,
        example: 'prod1',
      },
    ),
    checkIntervalMs: setting(duration({ min: '100ms', max: '10m' }), {
      variable: 'LIFECYCLE_CHECK_INTERVAL',
      description: 'The longest time between two looks at all open sessions; what is due earlier is looked at when it is due.',
      default: '1m',
      example: '1m',
    }),
    hardMaxHours: setting(decimalNumber({ min: 0.01, max: 8_760 }), {
      variable: 'LIFECYCLE_HARD_MAX_HOURS',
      description: 'The longest life of a session, extensions included, hours from its creation.',
      default: '12',
      example: '12',
    }),
    orphanGraceMs: setting(duration({ min: '0s', max: '24h' }), {
      variable: 'LIFECYCLE_ORPHAN_GRACE_PERIOD',
      description:
        'How long an instance that bears our tag, but belongs to no open session, is watched before it is destroyed.',
      default: '15m',
      example: '15m',
    }),
    reconciliationIntervalMs: setting(duration({ min: '100ms', max: '1h' }), {
      variable: 'LIFECYCLE_RECONCILIATION_INTERVAL',
      description: 'How often the list of instances of each provider is compared with the sessions.',
      default: '5m',
      example: '5m',
    }),
    startupSweepEnabled: setting(boolean(), {
      variable: 'LIFECYCLE_STARTUP_SWEEP_ENABLED',
      description: 'Whether that comparison is made at once when the broker starts.',
      default: 'true',
      example: 'true',
    }),
    startupSweepTimeoutMs: setting(duration({ min: '1s', max: '30m' }), {
      variable: 'LIFECYCLE_STARTUP_SWEEP_TIMEOUT',
      description: 'How long /ready waits at most for the first comparison; it goes on afterwards.',
      default: '2m',
      example: '2m',
    }),
    shutdownTimeoutMs: setting(duration({ min: '1s', max: '1h' }), {
      variable: 'LIFECYCLE_SHUTDOWN_TIMEOUT',
      description:
        'How long a stop waits for work in hand. Sessions are left running; with --drain it is the time to destroy them.',
      default: '60s',
      example: '60s',
    }),
    recoveryMode: setting(choice(['auto', 'on']), {
      variable: 'LIFECYCLE_RECOVERY_MODE',
      description:
        'auto: recovery mode begins by itself where the database turns out to be older than what providers have. on: it begins at the start in any case, as after a backup was restored; take it out again before you end the mode.',
      default: 'auto',
      example: 'on',
    }),
    clockSettleMs: setting(duration({ min: '0s', max: '24h' }), {
      variable: 'CLOCK_SETTLE',
      description: 'After a jump of the wall clock nothing expires until it has agreed with the monotonic clock for this long.',
      default: '10m',
      example: '10m',
    }),
  }),

  sessions: section('Sessions', {
    minReservationMinutes: setting(decimalNumber({ min: 0.01, max: 525_600 }), {
      variable: 'MIN_RESERVATION_MINUTES',
      description: 'The shortest reservation that may be asked for, minutes.',
      default: '5',
      example: '5',
    }),
    defaultReservationHours: setting(decimalNumber({ min: 0.01, max: 8_760 }), {
      variable: 'DEFAULT_RESERVATION_HOURS',
      description: 'The reservation of a session that asks for none, hours.',
      default: '1',
      example: '1',
    }),
    maxAttempts: setting(wholeNumber({ min: 1, max: 99 }), {
      variable: 'MAX_ATTEMPTS',
      description: 'How many offers one session may try before it fails.',
      default: '6',
      example: '6',
    }),
    bidMarginPercent: setting(decimalNumber({ min: 0, max: 1_000 }), {
      variable: 'BID_MARGIN_PERCENT',
      description:
        'How far above its floor an interruptible offer is bid for when the session names no bid_price, percent; never above max_price.',
      default: '10',
      example: '10',
    }),
    createConcurrency: setting(wholeNumber({ min: 1, max: 1_000 }), {
      variable: 'CREATE_CONCURRENCY',
      description: 'How many create calls may be under way at once at each provider.',
      default: '32',
      example: '32',
    }),
    providerCallTimeoutMs: setting(duration({ min: '100ms', max: '5m' }), {
      variable: 'PROVIDER_CALL_TIMEOUT',
      description: "How long a call to a provider may take, creates excepted: their time is the provider's own.",
      default: '30s',
      example: '30s',
    }),
    keyReplayMs: setting(duration({ min: '0s', max: '15m' }), {
      variable: 'KEY_REPLAY_TTL',
      description:
        'How long a private key that the broker made can be fetched again by Idempotency-Key, before it is shredded.',
      default: '15m',
      example: '5m',
    }),
    idempotencyMs: setting(duration({ min: '1m', max: '90d' }), {
      variable: 'IDEMPOTENCY_TTL',
      description: 'How long a repeated Idempotency-Key finds the session that it made.',
      default: '7d',
      example: '7d',
    }),
  }),

  ssh: section('SSH verification', {
    verifyTimeoutMs: setting(duration({ min: '1s', max: '24h' }), {
      variable: 'SSH_VERIFY_TIMEOUT',
      description: 'How long a new instance may take until SSH works; then the next offer is tried or the session fails.',
      default: '10m',
      example: '10m',
    }),
    checkIntervalMs: setting(duration({ min: '250ms', max: '10m' }), {
      variable: 'SSH_CHECK_INTERVAL',
      description: 'The slowest interval between two probes; they start at 250 ms and slow down as a boot drags on.',
      default: '15s',
      example: '15s',
    }),
    gpuDriverTimeoutMs: setting(duration({ min: '1s', max: '24h' }), {
      variable: 'GPU_DRIVER_TIMEOUT',
      description: 'How long the GPU driver may take to answer once SSH works.',
      default: '5m',
      example: '5m',
    }),
    concurrency: setting(wholeNumber({ min: 1, max: 1_024 }), {
      variable: 'SSH_CONCURRENCY',
      description: 'How many SSH handshakes may be in flight at once.',
      default: '64',
      example: '64',
    }),
  }),

  idle: section('Idle shutdown', {
    gpuPercent: setting(decimalNumber({ min: 0, max: 100 }), {
      variable: 'IDLE_GPU_PERCENT',
      description: 'GPU utilisation, percent, up to which a session with a GPU counts as idle.',
      default: '5',
      example: '5',
    }),
    cpuPercent: setting(decimalNumber({ min: 0, max: 100 }), {
      variable: 'IDLE_CPU_PERCENT',
      description: 'CPU utilisation, percent of the cores rented, up to which a session without a GPU counts as idle.',
      default: '5',
      example: '5',
    }),
    sampleIntervalMs: setting(duration({ min: '1s', max: '10m' }), {
      variable: 'IDLE_SAMPLE_INTERVAL',
      description: 'How often the utilisation of a session that asked for idle shutdown is read.',
      default: '30s',
      example: '30s',
    }),
  }),

  tunnel: section('Tunnel', {
    ports: setting(parsed(parsePortRange), {
      variable: 'TUNNEL_PORTS',
      description:
        'Ports of this machine for sessions whose instance nobody can dial directly: each gets one, and ssh to it is relayed. So many of them can run at once. Nothing is opened while no provider needs it.',
      default: '22000-22099',
      example: '22000-22099',
    }),
    host: setting(plainText({ pattern: /^[\w.:%-]+$/, rule: 'must be an address or a host name, without port' }), {
      variable: 'TUNNEL_HOST',
      description: 'Address that these ports listen on. Anything but a loopback address lets other machines in.',
      default: '127.0.0.1',
      example: '127.0.0.1',
    }),
    publicHost: optionalSetting(
      plainText({ pattern: /^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$/, rule: 'must be an address or a host name, without port' }),
      {
        variable: 'TUNNEL_PUBLIC_HOST',
        description:
          'Name or address of this machine that consumers are told for these ports. Unset: TUNNEL_HOST. Needed where TUNNEL_HOST is 0.0.0.0 or ::.',
        example: 'gpu.example.com',
      },
    ),
    maxConnections: setting(wholeNumber({ min: 1, max: 100_000 }), {
      variable: 'TUNNEL_MAX_CONNECTIONS',
      description: 'How many connections are relayed at once, over all sessions; each takes two open files.',
      default: '1000',
      example: '1000',
    }),
    idleMs: setting(duration({ min: '0s', max: '30d' }), {
      variable: 'TUNNEL_IDLE_TIMEOUT',
      description: 'A relayed connection without a byte in either direction for so long is closed; 0s sets no limit.',
      default: '12h',
      example: '2h',
    }),
    longestMs: setting(duration({ min: '0s', max: '365d' }), {
      variable: 'TUNNEL_MAX_DURATION',
      description: 'The longest life of a relayed connection, however busy; 0s sets no limit but the end of the session.',
      default: '24h',
      example: '24h',
    }),
  }),

  retention: section('Retention', {
    sessionMs: setting(duration({ min: '1h', max: '3650d' }), {
      variable: 'SESSION_RETENTION',
      description: 'How long an ended session, its history and its costs are kept.',
      default: '90d',
      example: '90d',
    }),
    auditMs: setting(duration({ min: '1d', max: '3650d' }), {
      variable: 'AUDIT_RETENTION',
      description:
        'How long the audit log is kept; the rows of a session at least for as long as the session. Receipts of destroys are made of it.',
      default: '365d',
      example: '365d',
    }),
  }),
});

export type Settings = z.infer<typeof Settings>;
