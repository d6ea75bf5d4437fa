import type { Clock } from '../../src/core/clock.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import type { Random } from '../../src/core/random.ts';
import type { Secret } from '../../src/core/secret.ts';
import { whenAborted } from '../../src/core/when-aborted.ts';
import { URGENCY } from '../../src/provider/calls.ts';
import {
  createHttpClient,
  HttpFailure,
  kindOfHttpFailure,
  retryAfterMs,
  type HttpAnswer,
  type HttpRequest,
} from '../../src/provider/http-client.ts';
import { createPacer, PacerRefusal } from '../../src/provider/pacer.ts';
import { ProviderError, type ProviderOperation } from '../../src/provider/provider-error.ts';
import { explain, failure, read, saysTooFrequent, type Said } from './mapping.ts';
import { RefusalBody } from './schema.ts';

/** Seconds that must lie between two calls, as their documentation has them; of the account and of keys not all is written. */
const INTERVALS_S = {
  // ten a minute of both together, which are asked one right after the other
  search: 12,
  searchBids: 12,
  create: 4.5,
  destroy: 3,
  list: 1,
  get: 2,
  account: 1,
  listKeys: 1,
  attachKey: 1,
  detachKey: 2,
  templates: 3,
  charges: 1,
} as const;
export type Endpoint = keyof typeof INTERVALS_S;
const ENDPOINTS = Object.keys(INTERVALS_S) as readonly Endpoint[]; // the keys of the constant above
const MARGIN = 1.15;
/** A create that comes too early is punished. */
const PENALTIES_S: Partial<Record<Endpoint, number>> = { create: 12 };
/** Nothing holds a destroy back for longer, and a search for as long as a day lasts. */
const LONGEST_PAUSES_MS: Partial<Record<Endpoint, number>> = {
  destroy: MINUTE_MS,
  search: DAY_MS + HOUR_MS,
  searchBids: DAY_MS + HOUR_MS,
};
const LONGEST_PAUSE_MS = 15 * MINUTE_MS;

const SCOPES: Readonly<Record<Endpoint, string>> = {
  search: 'misc',
  searchBids: 'misc',
  create: 'instance_write',
  destroy: 'instance_write',
  list: 'instance_read',
  get: 'instance_read',
  account: 'user_read',
  listKeys: 'instance_read',
  attachKey: 'instance_write',
  detachKey: 'instance_write',
  templates: 'misc',
  charges: 'billing_read',
};

export const HTTP_TIMEOUT_MS = 30 * SECOND_MS;
/** How long an exchange that nobody waits for any more may still take until it is cut. */
const LINGER_MS = 10 * SECOND_MS;

export interface Call {
  /** On whose behalf: decides what a failure means, and who goes first. */
  readonly operation: ProviderOperation;
  readonly signal: AbortSignal;
  /** Asked after the last wait; throws when the call must not be sent any more. */
  readonly beforeSending?: () => void;
}

/** Their endpoints, at their pace. Answers of any status but 3xx and 429 come back; everything else is thrown as ProviderError. */
export interface VastClient {
  search(endpoint: 'search' | 'searchBids', body: unknown, call: Call): Promise<HttpAnswer>;
  create(offer: string, body: unknown, call: Call): Promise<HttpAnswer>;
  getInstance(id: string, call: Call): Promise<HttpAnswer>;
  listInstances(cursor: string | undefined, call: Call): Promise<HttpAnswer>;
  destroy(id: string, call: Call): Promise<HttpAnswer>;
  listKeys(id: string, call: Call): Promise<HttpAnswer>;
  attachKey(id: string, key: string, call: Call): Promise<HttpAnswer>;
  detachKey(id: string, keyId: number, call: Call): Promise<HttpAnswer>;
  account(call: Call): Promise<HttpAnswer>;
  /** Of instances, for days between these instants, epoch seconds. */
  listCharges(
    days: { readonly gte: number; readonly lte: number },
    cursor: string | undefined,
    call: Call,
  ): Promise<HttpAnswer>;
  /** Rows whose columns have these values. */
  listTemplates(columns: Readonly<Record<string, string | boolean>>, call: Call): Promise<HttpAnswer>;
}

export interface VastClientDeps {
  /** With or without /api/v0 at its end. */
  readonly baseUrl: URL;
  /** `Bearer` and the key. */
  readonly authorization: Secret<string>;
  readonly allowPlainHttp: boolean;
  readonly clock: Clock;
  readonly random: Pick<Random, 'next'>;
  readonly log: Log;
}

/** Rows of a page of charges: as many as their own client asks for. */
const CHARGES_PER_PAGE = 100;
/** Rows of a list page: as many as they give. */
export const PAGE_ROWS = 25;

export function createVastClient(deps: VastClientDeps): VastClient {
  const { baseUrl, authorization, allowPlainHttp, clock, random, log } = deps;
  const http = createHttpClient({
    baseUrl: rootOf(baseUrl),
    clock,
    credentials: { authorization },
    allowPlainHttp,
    timeoutMs: HTTP_TIMEOUT_MS,
  });
  const intervalMs = (endpoint: Endpoint) => INTERVALS_S[endpoint] * SECOND_MS * MARGIN;
  const pacer = createPacer<Endpoint>({
    // holds because the entries are made of all endpoints
    intervalsMs: Object.fromEntries(ENDPOINTS.map((endpoint) => [endpoint, intervalMs(endpoint)])) as Record<Endpoint, number>,
    clock,
    random,
  });

  async function send(endpoint: Endpoint, request: Omit<HttpRequest, 'signal'>, call: Call): Promise<HttpAnswer> {
    await takeTurn(endpoint, call);
    const answer = await exchange(endpoint, request, call);
    const { operation } = call;
    if (answer.status < 400) return answer; // nobody reads a long list to find out that it is no refusal
    const said = read(answer);
    if (!saysTooFrequent(said)) return answer;
    const askedMs = pauseAskedFor(answer, said, endpoint);
    const waitMs = pacer.pause(endpoint, askedMs);
    log.warn({ endpoint, waitMs: Math.ceil(waitMs), status: said.status, code: said.code }, 'vast.ai asked for a pause');
    throw failure({ operation, kind: 'rate_limited', why: pauseWords(said), said, retryAfterMs: waitMs });
  }

  /** A caller that gives up hears so at once; the exchange itself goes on for a while, since the vendor counts it from when it arrives there. */
  async function exchange(
    endpoint: Endpoint,
    request: Omit<HttpRequest, 'signal'>,
    { operation, signal, beforeSending }: Call,
  ): Promise<HttpAnswer> {
    const cut = new AbortController();
    const over = new AbortController();
    const begun = async () => {
      beforeSending?.();
      if (signal.aborted) throw new HttpFailure('cancelled', { mayBeSent: false });
      return http.send({ ...request, signal: cut.signal });
    };
    const sent = begun().finally(() => {
      over.abort();
      pacer.exchanged(endpoint);
    });
    try {
      if (signal.aborted) return await sent; // which says that it was not sent
      return await unlessGivenUp(sent, signal, () => {
        clock.sleep(LINGER_MS, over.signal).then(
          () => cut.abort(),
          () => {}, // it was over before
        );
      });
    } catch (thrown) {
      if (!(thrown instanceof HttpFailure)) throw thrown;
      throw failure({ operation, kind: kindOfHttpFailure(thrown, operation), why: thrown.message, cause: thrown });
    }
  }

  async function takeTurn(endpoint: Endpoint, { operation, signal }: Call): Promise<void> {
    try {
      const longestPauseMs = endpoint === 'destroy' ? 2 * MINUTE_MS : 15 * SECOND_MS;
      await pacer.turn({ endpoint, urgency: URGENCY[operation], signal, longestPauseMs });
    } catch (cause) {
      if (cause instanceof PacerRefusal) {
        const why = 'not sent, since the endpoint asked for a pause';
        throw failure({ operation, kind: 'rate_limited', why, retryAfterMs: cause.waitMs, cause });
      }
      throw failure({ operation, kind: 'unavailable', why: 'not sent, cancelled while it waited its turn', cause });
    }
  }

  /** The longest of what is told anywhere, and never less than the documented interval. */
  function pauseAskedFor(answer: HttpAnswer, said: Said, endpoint: Endpoint): number {
    const [, threshold] = /threshold\s*=\s*(\d+(?:\.\d+)?)/.exec(said.words) ?? [];
    const body = RefusalBody.safeParse(answer.json);
    const inBody = body.success ? body.data.retry_after : undefined;
    const resetAt = Number(answer.header('x-ratelimit-reset') ?? Number.NaN) * SECOND_MS;
    const told = [
      Number(threshold ?? 0) * SECOND_MS,
      (inBody ?? 0) * SECOND_MS,
      retryAfterMs(answer, clock.now()) ?? 0,
      Number.isNaN(resetAt) ? 0 : resetAt - clock.now(),
    ];
    const isQuota = said.words.includes('search_quota_exceeded');
    if (isQuota && told.every((ms) => ms <= 0)) told.push(DAY_MS - (clock.now() % DAY_MS));
    const least = Math.max(intervalMs(endpoint), (PENALTIES_S[endpoint] ?? 0) * SECOND_MS);
    const longest = LONGEST_PAUSES_MS[endpoint] ?? LONGEST_PAUSE_MS;
    return Math.min(longest, Math.max(least, ...told));
  }

  return {
    search: (endpoint, body, call) => send(endpoint, { method: 'POST', path: '/api/v0/bundles/', body }, call),
    create: (offer, body, call) =>
      send('create', { method: 'PUT', path: `/api/v0/asks/${encodeURIComponent(offer)}/`, body }, call),
    getInstance: (id, call) => send('get', { method: 'GET', path: instancePath(id) }, call),
    listInstances: (cursor, call) =>
      send(
        'list',
        {
          method: 'GET',
          path: '/api/v1/instances/',
          query: {
            limit: String(PAGE_ROWS),
            order_by: JSON.stringify([{ col: 'id', dir: 'asc' }]),
            select_cols: JSON.stringify(['*']),
            ...(cursor !== undefined && { after_token: cursor }),
          },
        },
        call,
      ),
    destroy: (id, call) => send('destroy', { method: 'DELETE', path: instancePath(id), body: {} }, call),
    listKeys: (id, call) => send('listKeys', { method: 'GET', path: `${instancePath(id)}ssh/` }, call),
    attachKey: (id, key, call) =>
      send('attachKey', { method: 'POST', path: `${instancePath(id)}ssh/`, body: { ssh_key: key } }, call),
    detachKey: (id, keyId, call) =>
      send('detachKey', { method: 'DELETE', path: `${instancePath(id)}ssh/${keyId}/`, body: {} }, call),
    account: (call) => send('account', { method: 'GET', path: '/api/v0/users/current/' }, call),
    listCharges: (day, cursor, call) =>
      send(
        'charges',
        {
          method: 'GET',
          path: '/api/v0/charges/',
          query: {
            select_filters: JSON.stringify({ day, type: { in: ['instance'] } }),
            format: 'table',
            latest_first: 'true',
            limit: String(CHARGES_PER_PAGE),
            ...(cursor !== undefined && { after_token: cursor }),
          },
        },
        call,
      ),
    listTemplates: (columns, call) =>
      send(
        'templates',
        {
          method: 'GET',
          path: '/api/v0/template/',
          query: {
            select_filters: JSON.stringify(Object.fromEntries(Object.entries(columns).map(([name, eq]) => [name, { eq }]))),
            select_cols: JSON.stringify(['*']),
          },
        },
        call,
      ),
  };
}

async function unlessGivenUp(sent: Promise<HttpAnswer>, signal: AbortSignal, linger: () => void): Promise<HttpAnswer> {
  let release = () => {};
  const givenUp = new Promise<never>((_resolve, reject) => {
    release = whenAborted(signal, () => {
      linger();
      reject(new HttpFailure('cancelled', { mayBeSent: true }));
    });
  });
  try {
    return await Promise.race([sent, givenUp]);
  } finally {
    release();
  }
}

const SCOPE_RULE = 'no_scope';

/** The error for an answer that is no success; `otherwise` is what it means when no rule knows its words. */
export function refused(
  answer: HttpAnswer,
  {
    operation,
    endpoint,
    otherwise,
  }: { operation: ProviderOperation; endpoint: Endpoint; otherwise: 'protocol' | 'unavailable' },
): ProviderError {
  const said = read(answer);
  const refusal = explain(said, operation);
  if (refusal === undefined) return failure({ operation, kind: otherwise, why: 'the answer cannot be read', said });
  const why = refusal.rule === SCOPE_RULE ? `${refusal.why} (${SCOPES[endpoint]})` : refusal.why;
  return failure({ operation, kind: refusal.kind, why, said });
}

function pauseWords({ words }: Said): string {
  return words.includes('search_quota_exceeded')
    ? 'the daily quota of searches is used up'
    : 'too many requests; nothing was done';
}

function instancePath(id: string): string {
  return `/api/v0/instances/${encodeURIComponent(id)}/`;
}

/** `https://console.vast.ai/api/v0/` and `https://console.vast.ai` are the same place. */
function rootOf(baseUrl: URL): URL {
  const root = new URL(baseUrl);
  root.pathname = root.pathname.replace(/\/+$/, '').replace(/\/api(\/v\d+)?$/, '');
  return root;
}
