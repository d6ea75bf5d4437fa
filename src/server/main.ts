import closeWithGrace from 'close-with-grace';
import { loadConfig } from '../config/load-config.ts';
import { readEnvironment } from '../config/read-environment.ts';
import { systemClock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { createLogger } from '../observability/logger.ts';
import { providerModules } from '../../providers/index.ts';
import { createBroker, type Broker } from './broker.ts';
import { END_SIGNALS, listenForEnd, type EndSignal } from './end-signals.ts';
import { packageVersion } from './package-version.ts';

/** As sysexits.h has it: the configuration is at fault. */
const EXIT_CONFIG = 78;
const EXIT_FAILURE = 1;

export interface ServeOptions {
  /** On SIGTERM and SIGINT: destroy every session, and wait, before the process ends. */
  readonly drain: boolean;
  /** Where faults of the configuration are told: they come before there is a log. */
  readonly complain: (line: string) => void;
}

/** Runs the broker until a signal ends it; resolves with the exit code only when it could not start. */
export async function serve({ drain, complain }: ServeOptions): Promise<number | undefined> {
  const loaded = load(complain);
  if (!loaded) return EXIT_CONFIG;
  const { config, providers, warnings } = loaded;
  const log = createLogger({ ...config.logging, clock: systemClock });
  for (const warning of warnings) log.warn({}, warning);

  let broker: Broker;
  try {
    broker = await createBroker({
      config,
      configured: providers,
      clock: systemClock,
      random: systemRandom,
      log,
      version: packageVersion(),
      onFatal: (error) => {
        log.error({ error: describeError(error) }, 'the disk failed under the database: the process ends; start it again');
        process.exit(EXIT_FAILURE); // what the last commit did is unknown: nothing may go on in this process
      },
    });
  } catch (error) {
    log.error({ error: describeError(error) }, 'berth cannot start');
    complain(`berth cannot start: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT_CONFIG;
  }

  let isEnding = false;
  let asked: EndSignal | undefined;
  const { close, uninstall } = closeWithGrace(
    {
      delay: false,
      skip: END_SIGNALS,
      logger: { error: (message) => log.error({ error: describeError(message) }, 'the broker is ending') },
    },
    async ({ signal = asked, err }) => {
      isEnding = true;
      log.info(
        { signal, drain, ...(err ? { error: describeError(err) } : {}) },
        drain ? 'berth is ending: sessions are destroyed first' : 'berth is ending: sessions go on',
      );
      await broker.stop({ drain: drain && !err });
      log.info({}, 'berth has ended');
    },
  );
  const endAtOnce = (signal: EndSignal) => {
    log.error({ signal }, 'asked again: berth ends at once, and the next start takes up what is open');
    process.exit(EXIT_FAILURE);
  };
  const signals = listenForEnd({
    source: process,
    clock: systemClock,
    onFirst: (signal) => {
      if (isEnding) return endAtOnce(signal); // an error has begun it
      asked = signal;
      close();
    },
    onAgain: endAtOnce,
  });
  try {
    const address = await broker.start();
    log.info({ address, docs: `${address}/docs` }, 'berth is listening');
    return undefined;
  } catch (error) {
    log.error({ error: describeError(error) }, 'berth cannot listen');
    complain(
      `berth cannot listen on ${config.server.host}:${config.server.port}: ${error instanceof Error ? error.message : String(error)}`,
    );
    uninstall(); // or the end of this process would count as a clean one
    signals.stop();
    await broker.stop({ drain: false });
    return EXIT_FAILURE;
  }
}

function load(complain: (line: string) => void) {
  let read: ReturnType<typeof readEnvironment>;
  try {
    read = readEnvironment();
  } catch (error) {
    complain(`.env cannot be read: ${describeError(error)}`);
    return undefined;
  }
  const loaded = loadConfig({ ...read, modules: providerModules });
  if (loaded.ok) return loaded;
  complain('The configuration is at fault:');
  for (const fault of loaded.faults) complain(`  ${fault}`);
  for (const warning of loaded.warnings) complain(`  (${warning})`);
  return undefined;
}
