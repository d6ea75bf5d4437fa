import type { FastifyInstance } from 'fastify';
import { systemClock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { createIds } from '../../src/core/ids.ts';
import { systemRandom } from '../../src/core/random.ts';
import { createHttpApp } from '../../src/http/app.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import type { OfferBook } from '../../src/offers/offer-book.ts';
import type { ProviderId } from '../../src/provider/ids.ts';
import { silentLog } from './open-scratch-store.ts';

function unused(): never {
  throw new Error('the inventory asks nobody but the offer book');
}

/** The real HTTP app over an offer book; whatever else it is asked for throws. */
export function inventoryApp(
  book: OfferBook,
  { id, simulated }: { readonly id: ProviderId; readonly simulated: boolean },
): Promise<FastifyInstance> {
  const labels = {
    providers: [id],
    endReasons: [],
    sshErrorTypes: [],
    failureTypes: [],
    tunnelRefusals: [],
    tunnelEnds: [],
    controllers: [],
  };
  const metrics = createMetrics({ version: 'bench', clock: systemClock, log: silentLog, labels });
  return createHttpApp({
    settings: {
      version: 'bench',
      requestTimeoutMs: MINUTE_MS,
      maxBodyBytes: 1_048_576,
      rateLimitPerMinute: 0,
      docsEnabled: true,
      hardMaxMs: 12 * HOUR_MS,
      minReservationMinutes: 5,
      defaultReservationHours: 1,
      maxAttempts: 6,
      bidMarginPercent: 10,
      providers: [{ id, simulated }],
    },
    access: { keysOn: false, localOnly: false, authenticate: unused },
    book,
    failures: { failuresSince: unused },
    templates: { providers: [], list: unused, find: unused },
    ledger: { billOfSession: unused, summary: unused },
    sessions: { find: unused, list: unused, listEvents: unused },
    audit: { list: unused },
    requestSession: unused,
    stopSession: unused,
    extendSession: unused,
    waiter: { wait: unused },
    changes: { on: unused },
    controllers: () => [],
    health: unused,
    metricsText: () => metrics.scrape(),
    observeRequest: (request) => metrics.observeRequest(request),
    log: silentLog,
    clock: systemClock,
    ids: createIds({ clock: systemClock, random: systemRandom }),
    shutdown: new AbortController().signal,
  });
}
