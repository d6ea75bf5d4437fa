import { nearestName } from './nearest-name.ts';
import type { Variables } from './variables.ts';

/** Names that existing guides print although nothing reads them, and what to write instead. */
const MISPRINTS: Readonly<Record<string, string>> = {
  HARD_MAX_HOURS: 'LIFECYCLE_HARD_MAX_HOURS',
  ORPHAN_GRACE_PERIOD: 'LIFECYCLE_ORPHAN_GRACE_PERIOD',
  RECONCILE_INTERVAL: 'LIFECYCLE_RECONCILIATION_INTERVAL',
  RECONCILIATION_INTERVAL: 'LIFECYCLE_RECONCILIATION_INTERVAL',
  INVENTORY_CACHE_TTL: 'INVENTORY_DEFAULT_CACHE_TTL',
  INVENTORY_BACKOFF_TTL: 'INVENTORY_BACKOFF_CACHE_TTL',
};

const PREFIXES = [
  'PROVIDERS_',
  'LIFECYCLE_',
  'SSH_',
  'INVENTORY_',
  'SERVER_',
  'LOGGING_',
  'LOG_',
  'IDLE_',
  'DATABASE_',
  'API_KEYS_',
  'SECRET_KEY_',
  'VASTAI_',
  'TENSORDOCK_',
  'BLUELOBSTER_',
];

// What sshd, ssh-agent, and a Kubernetes service that happens to be called "server" put there.
const NOT_OURS =
  /^SSH_(AUTH_SOCK|AGENT_\w+|CLIENT|CONNECTION|TTY|ASKPASS\w*|ORIGINAL_COMMAND|USER_AUTH|SK_\w+)$|_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)/;

interface UnknownNames {
  readonly environment: Variables;
  /** The `.env` file is the broker's own, so that there even a name without our prefix is compared. */
  readonly dotenv: Variables;
  readonly known: ReadonlySet<string>;
  readonly modules: readonly { readonly id: string }[];
}

/** A warning for each name that looks like one of ours and is read by nobody. */
export function warnOfUnknownNames({ environment, dotenv, known, modules }: UnknownNames): readonly string[] {
  const prefixes = [...PREFIXES, ...modules.map(({ id }) => `${id.toUpperCase()}_`)];
  const isSuspect = (name: string) => prefixes.some((prefix) => name.startsWith(prefix)) || Object.hasOwn(MISPRINTS, name);
  const names = new Set([
    ...Object.keys(environment).filter(isSuspect),
    ...Object.keys(dotenv).filter((name) => isSuspect(name) || nearestName(name, known) !== undefined),
  ]);
  return [...names]
    .filter((name) => !known.has(name) && !NOT_OURS.test(name))
    .map((name) => {
      const meant = MISPRINTS[name] ?? nearestName(name, known);
      return `${name} is set, but nothing reads it${meant === undefined ? '' : `; did you mean ${meant}?`}`;
    })
    .toSorted();
}
