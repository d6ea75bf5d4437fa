import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load-config.ts';
import { readEnvironment } from '../config/read-environment.ts';
import { systemClock } from '../core/clock.ts';
import { HOUR_MS, parseDurationMs } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import { createIds } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { systemRandom } from '../core/random.ts';
import { createAuditRepository } from '../db/audit-repository.ts';
import { lookIntoDatabase, type DatabaseLook } from '../db/database-look.ts';
import { redactFields } from '../observability/redact.ts';
import type { ProviderId } from '../provider/ids.ts';
import { DEPLOYMENT_ID_RULE, parseDeploymentId, type DeploymentId } from '../provider/ownership-tag.ts';
import { createRecoveryMode } from '../sessions/recovery-mode.ts';
import { createSessionRepository } from '../sessions/session-repository.ts';
import { createSightingRepository } from '../sessions/sighting-repository.ts';
import { providerModules } from '../../providers/index.ts';
import { openRecoverStore } from './open-recover-store.ts';
import { recoverAdopt } from './recover-adopt.ts';
import { recoverDestroy } from './recover-destroy.ts';
import { recoverList, type RecoverListDeps } from './recover-list.ts';
import { beginRecovery, endRecovery } from './recover-mode.ts';
import { createRecoverProviders } from './recover-providers.ts';
import type { Terminal } from './terminal.ts';

/** As sysexits.h has it: the command line, or the configuration, is at fault. */
const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;
const EXIT_FAILURE = 1;
/** A complete list has many pages: as many call times as the broker gives it. */
const LIST_CALLS = 4;

/** As the command line has it. */
export interface RecoverRequest {
  readonly instances: readonly string[];
  readonly deployment?: string;
  readonly json: boolean;
  readonly destroy: boolean;
  readonly adopt: boolean;
  /** `on` or `off`: begins or ends recovery mode. */
  readonly mode?: string;
  /** Whose an adopted session shall be. */
  readonly consumer: string;
  /** A duration: how long an adopted session is kept. */
  readonly keep: string;
  readonly all: boolean;
  readonly yes: boolean;
  readonly verify: boolean;
  /** A duration. */
  readonly for: string;
}

/** What is left of this installation at its providers, without its database; hands back the exit code. */
export async function recover(request: RecoverRequest, terminal: Terminal): Promise<number> {
  const loaded = load(terminal);
  if (!loaded) return EXIT_CONFIG;
  const { config } = loaded;
  const asked = request.deployment === undefined ? undefined : parseDeploymentId(request.deployment);
  if (request.deployment !== undefined && asked === undefined) {
    terminal.complain(`--deployment "${request.deployment}": must be ${DEPLOYMENT_ID_RULE}`);
    return EXIT_USAGE;
  }
  const [forMs = 0, keepMs = 0] = [parseDurationMs(request.for), parseDurationMs(request.keep)];
  const misuse = misuseOf(request);
  if (misuse !== undefined) {
    terminal.complain(misuse);
    return EXIT_USAGE;
  }
  const [clock, log] = [systemClock, logTo(terminal)];
  const look = await lookIntoDatabase(config.database);
  tellOfDatabase(look, config.database.url === undefined ? config.database.path : 'DATABASE_URL', terminal);
  const own = asked ?? config.lifecycle.deploymentId ?? storedDeployment(look);
  if (own === undefined)
    terminal.complain('Which of the tags are this installation’s is not known: name it with --deployment or DEPLOYMENT_ID');

  const providers = await createRecoverProviders({ ...loaded, configured: loaded.providers, clock, random: systemRandom, log });
  try {
    if (providers.length === 0) {
      terminal.complain(
        'No provider is configured, so nothing was looked at. Set the settings of at least one (VASTAI_API_KEY, say); the simulated market is not looked at',
      );
      return EXIT_CONFIG;
    }
    const callTimeoutMs = LIST_CALLS * config.sessions.providerCallTimeoutMs;
    const deps = { ...request, providers, look, clock, callTimeoutMs, terminal };
    if (request.destroy && asked !== undefined)
      return await recoverDestroy({ ...deps, ids: request.instances, deployment: asked, forMs });
    if (request.adopt || request.mode !== undefined)
      return await withDatabase({ ...deps, config, log, own, keepMs, mode: request.mode });
    return await recoverList({ ...deps, own });
  } catch (error) {
    terminal.complain(`recover failed: ${describeError(error)}`);
    return EXIT_FAILURE;
  } finally {
    for (const provider of providers) if (!('fault' in provider)) await provider.close?.();
  }
}

/** What does not fit together, as a sentence. */
function misuseOf(request: RecoverRequest): string | undefined {
  const { mode, adopt, destroy } = request;
  for (const [name, text] of [
    ['--for', request.for],
    ['--keep', request.keep],
  ])
    if (parseDurationMs(text ?? '') === undefined) return `${name} "${text}": must be a duration, such as 15m`;
  if (mode !== undefined && mode !== 'on' && mode !== 'off') return `--mode "${mode}": must be on or off`;
  if ([destroy, adopt, mode !== undefined].filter(Boolean).length > 1) return 'one of --destroy, --adopt and --mode at a time';
  if (request.destroy && request.deployment === undefined)
    return '--destroy needs --deployment: which deployment is meant is said by a person and never guessed';
  if (!destroy && !adopt && (request.all || request.instances.length > 0))
    return 'instances and --all go with --destroy or --adopt';
  return undefined;
}

interface WithDatabase extends Pick<RecoverListDeps, 'providers' | 'look' | 'own' | 'clock' | 'callTimeoutMs' | 'terminal'> {
  readonly config: Config;
  readonly log: Log;
  readonly mode: string | undefined;
  readonly instances: readonly string[];
  readonly all: boolean;
  readonly yes: boolean;
  readonly consumer: string;
  readonly keepMs: number;
}

/** What writes to the database: with SQLite the broker has to be stopped, and the file's lock sees to it. */
async function withDatabase(request: WithDatabase): Promise<number> {
  const { config, providers, own, clock, mode, terminal } = request;
  const { store, installation, deployment } = await openRecoverStore({ ...request, random: systemRandom });
  try {
    if (own !== undefined && own !== deployment) {
      terminal.complain(`refused: this database belongs to deployment ${deployment}, not to ${own}`);
      return EXIT_FAILURE;
    }
    const sessions = createSessionRepository(store);
    const recovery = createRecoveryMode({ installation, audit: createAuditRepository(store), clock });
    const deps = { ...request, sessions, deployment };
    if (mode === 'on') return await beginRecovery({ recovery, terminal });
    if (mode === 'off') return await endRecovery({ ...deps, recovery, sightings: createSightingRepository(store) });
    const capabilitiesOf = (id: ProviderId) => {
      const provider = providers.find((each) => each.id === id);
      if (!provider || 'fault' in provider) throw new RangeError(`provider ${id} was not listed`);
      return provider.capabilities;
    };
    return await recoverAdopt({
      ...deps,
      ids: createIds({ clock, random: systemRandom }),
      rules: {
        absenceOf: (id) => capabilitiesOf(id).absence,
        billingOf: (id) => capabilitiesOf(id).billing,
        bootTimeoutMs: config.ssh.verifyTimeoutMs,
        driverTimeoutMs: config.ssh.gpuDriverTimeoutMs,
      },
      hardMaxMs: config.lifecycle.hardMaxHours * HOUR_MS,
    });
  } finally {
    await store.close();
  }
}

function load({ complain }: Terminal) {
  let read: ReturnType<typeof readEnvironment>;
  try {
    read = readEnvironment();
  } catch (error) {
    complain(`.env cannot be read: ${describeError(error)}`);
    return undefined;
  }
  const loaded = loadConfig({ ...read, modules: providerModules });
  if (loaded.ok) return loaded;
  complain('The configuration is at fault; only the settings of providers are needed here:');
  for (const fault of loaded.faults) complain(`  ${fault}`);
  return undefined;
}

function storedDeployment(look: DatabaseLook): DeploymentId | undefined {
  const stored = look.outcome === 'absent' ? undefined : look.installation?.get('deployment_id');
  return stored === undefined ? undefined : parseDeploymentId(stored);
}

function tellOfDatabase(look: DatabaseLook, name: string, { complain }: Terminal): void {
  if (look.outcome === 'absent') complain(`There is no database at ${name}: which sessions are known is not told`);
  if (look.outcome === 'unreadable')
    complain(
      `The database ${name} cannot be read: ${look.reason}. Nothing in it was touched; which sessions are known is not told`,
    );
}

/** Providers log every call; here only what a person has to see is shown. */
function logTo({ complain }: Terminal): Log {
  const tell = (fields: Readonly<Record<string, unknown>>, message: string) =>
    complain(`${message} ${JSON.stringify(redactFields(fields))}`);
  return { debug: () => {}, info: () => {}, warn: () => {}, error: tell };
}
