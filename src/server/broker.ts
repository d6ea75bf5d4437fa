import { setMaxListeners } from 'node:events';
import { createApiKeys } from '../consumers/api-keys.ts';
import { HOUR_MS, SECOND_MS } from '../core/duration.ts';
import { BrokerError } from '../core/errors.ts';
import { createHttpApp } from '../http/app.ts';
import { offerSerialiser } from '../http/schemas/offer.ts';
import { createTemplateCatalogue } from '../offers/template-catalogue.ts';
import { createExtendSession } from '../sessions/commands/extend-session.ts';
import { createRequestSession } from '../sessions/commands/request-session.ts';
import { createStopSession } from '../sessions/commands/stop-session.ts';
import { createSessionWaiter } from '../sessions/session-waiter.ts';
import { createAdmission } from './admission.ts';
import { createCore, type CoreDeps } from './core.ts';
import { drain } from './drain.ts';
import { createHealth } from './health.ts';
import { watchOpenRequests } from './open-requests.ts';

export type BrokerDeps = Omit<CoreDeps, 'serialise'>;

export interface Broker {
  /** Listens and begins to reconcile; resolves with the address once requests are answered. */
  start(): Promise<string>;
  /** Ends cleanly. Sessions go on, unless they are to be drained: then all are destroyed first, and waited for. */
  stop(options: { readonly drain: boolean }): Promise<void>;
}

/** How long the end waits for requests to be answered. */
const LAST_ANSWERS_MS = 5 * SECOND_MS;

/** The broker whole: the core with its HTTP face. Throws StartRefused when it must not start like this. */
export async function createBroker(deps: BrokerDeps): Promise<Broker> {
  const { config, log, version } = deps;
  const core = await createCore({ ...deps, serialise: offerSerialiser });
  const { book, changes, clock, desk, driver, envelope, ids, ledger, metrics, providers, sessions, writer } = core;
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal); // every wait and stream listens
  const shutDown = new Error('the broker is shutting down');
  const admission = createAdmission({
    refusal: () =>
      new BrokerError({ code: 'not_ready', message: 'create session: the broker is ending and takes no new sessions' }),
  });
  const templates = createTemplateCatalogue({
    providers: [...providers.values()],
    clock,
    timeoutMs: config.sessions.providerCallTimeoutMs,
  });
  const requestSession = createRequestSession({
    sessions,
    offers: desk,
    templates,
    envelope,
    changes,
    clock,
    ids,
    hasRoom: () => core.store.hasRoom?.() ?? true,
    settings: {
      hardMaxMs: config.lifecycle.hardMaxHours * HOUR_MS,
      keyReplayMs: config.sessions.keyReplayMs,
      idempotencyMs: config.sessions.idempotencyMs,
    },
  });
  const keys = createApiKeys(config.access.keys);
  const app = await createHttpApp({
    settings: {
      ...config.server,
      ...config.sessions,
      version,
      hardMaxMs: config.lifecycle.hardMaxHours * HOUR_MS,
      providers: [...providers.values()].map(({ id, capabilities }) => ({ id, simulated: capabilities.simulated })),
    },
    access: {
      keysOn: keys.areRequired,
      localOnly: !keys.areRequired && config.access.auth !== 'none',
      authenticate: (presented) => keys.authenticate(presented),
    },
    book,
    failures: core.offers,
    templates,
    ledger,
    sessions,
    audit: core.audit,
    requestSession: (order) => admission.admit(() => requestSession(order)),
    stopSession: createStopSession({ writer }),
    extendSession: createExtendSession({ sessions, writer }),
    waiter: createSessionWaiter({ sessions, changes, clock }),
    changes,
    controllers: () => driver.statuses(),
    health: createHealth({ ...core, version, log }),
    metricsText: () => metrics.scrape(),
    observeRequest: (request) => metrics.observeRequest(request),
    log,
    clock,
    ids,
    shutdown: stopping.signal,
  });

  const openRequests = watchOpenRequests(app.server);

  return {
    async start() {
      const address = await app.listen({ host: config.server.host, port: config.server.port });
      await core.start(stopping.signal);
      return address;
    },

    async stop({ drain: isToDrain }) {
      await admission.close(); // what is being stored now is drained with the others
      if (isToDrain) await drain({ sessions, writer, clock, log }, new AbortController().signal);
      stopping.abort(shutDown);
      // who waits is told the state so far, and the key; closing cuts whatever is still open
      await openRequests.answered(clock.timeoutSignal(LAST_ANSWERS_MS));
      await app.close();
      await core.stop(shutDown);
    },
  };
}
