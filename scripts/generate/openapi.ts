import { systemClock } from '../../src/core/clock.ts';
import { HOUR_MS } from '../../src/core/duration.ts';
import { createHttpApp } from '../../src/http/app.ts';
import type { HttpDeps } from '../../src/http/http-deps.ts';

export const file = 'openapi/openapi.json';

/** The OpenAPI document, from the routes themselves; nothing is asked of what stands behind them. */
export async function render(): Promise<string> {
  const app = await createHttpApp(standIns);
  try {
    return `${JSON.stringify(app.swagger(), undefined, 2)}\n`;
  } finally {
    await app.close();
  }
}

function unused(): never {
  throw new Error('describing the API calls nothing behind it');
}

const standIns: HttpDeps = {
  settings: {
    version: '',
    requestTimeoutMs: 60_000,
    maxBodyBytes: 1_048_576,
    rateLimitPerMinute: 0,
    docsEnabled: false,
    hardMaxMs: 12 * HOUR_MS,
    minReservationMinutes: 5,
    defaultReservationHours: 1,
    maxAttempts: 6,
    bidMarginPercent: 10,
    providers: [],
  },
  access: { keysOn: false, localOnly: false, authenticate: unused },
  book: { page: unused, etag: unused, item: unused, find: unused },
  templates: { providers: [], list: unused, find: unused },
  failures: { failuresSince: unused },
  ledger: { billOfSession: unused, summary: unused },
  sessions: { find: unused, list: unused, listEvents: unused },
  audit: { list: unused },
  requestSession: unused,
  stopSession: unused,
  extendSession: unused,
  waiter: { wait: unused },
  changes: { on: unused },
  controllers: unused,
  health: unused,
  metricsText: unused,
  observeRequest: unused,
  log: { debug: unused, info: unused, warn: unused, error: unused },
  clock: systemClock,
  ids: { request: unused },
  shutdown: new AbortController().signal,
};
