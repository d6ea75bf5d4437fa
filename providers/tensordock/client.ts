import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import type { Random } from '../../src/core/random.ts';
import type { Secret } from '../../src/core/secret.ts';
import { URGENCY } from '../../src/provider/calls.ts';
import {
  createHttpClient,
  HttpFailure,
  kindOfHttpFailure,
  retryAfterMs,
  type HttpAnswer,
  type HttpRequest,
} from '../../src/provider/http-client.ts';
import { PacerRefusal } from '../../src/provider/pacer.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import { createCallQuota, type Lane } from './call-quota.ts';
import { failure, read, saysTooFrequent, type Said } from './mapping.ts';
import { createdIn } from './reading.ts';

/** The organisation has a hundred; some are left to the people who use its dashboard. */
const CALLS_PER_MINUTE = 90;
const KEPT_FOR_DESTROYS = 10;

/** Calls of a minute are slow, and are no reason to give up. */
export const HTTP_TIMEOUT_MS = 2 * MINUTE_MS;
/** For a refusal that does not say for how long; the names of its headers are unpublished. */
const USUAL_PAUSE_MS = 15 * SECOND_MS;
/** They count by the minute, so a longer wait is a misunderstanding. */
const LONGEST_PAUSE_MS = MINUTE_MS;
/** Beyond this a number in a header is an instant, not a wait. */
const LONGEST_WAIT_S = 86_400;

/** How long a call sits a pause out: every one, jitter included; less where there is a deadline, or where it is asked again soon. */
const SITS_OUT_MS = 2 * LONGEST_PAUSE_MS;
const SITS_OUT_LESS_MS: Partial<Record<ProviderOperation, number>> = {
  CreateInstance: 2 * USUAL_PAUSE_MS,
  ListOffers: USUAL_PAUSE_MS,
};

export interface Call {
  /** On whose behalf: decides what a failure means, and who goes first. */
  readonly operation: ProviderOperation;
  readonly signal: AbortSignal;
  /** Asked after the last wait; throws when the call must not be sent any more. */
  readonly beforeSending?: () => void;
}

/** What came back, and what it says of itself. */
export interface Answer {
  readonly json: unknown;
  readonly said: Said;
}

/** Their endpoints, at their pace. Answers of any status but 3xx and 429 come back; everything else is thrown as ProviderError. */
export interface TensorDockClient {
  locations(call: Call): Promise<Answer>;
  hostNodes(call: Call): Promise<Answer>;
  create(body: unknown, call: Call): Promise<Answer>;
  getInstance(id: string, call: Call): Promise<Answer>;
  listInstances(call: Call): Promise<Answer>;
  destroy(id: string, call: Call): Promise<Answer>;
  testToken(call: Call): Promise<Answer>;
}

export interface TensorDockClientDeps {
  /** With or without /api/v2 at its end. */
  readonly baseUrl: URL;
  /** `Bearer` and the token. */
  readonly authorization: Secret<string>;
  readonly allowPlainHttp: boolean;
  readonly clock: Clock;
  readonly random: Pick<Random, 'next'>;
  readonly log: Log;
}

export function createTensorDockClient(deps: TensorDockClientDeps): TensorDockClient {
  const { baseUrl, authorization, allowPlainHttp, clock, random, log } = deps;
  const http = createHttpClient({
    baseUrl: rootOf(baseUrl),
    clock,
    credentials: { authorization },
    allowPlainHttp,
    timeoutMs: HTTP_TIMEOUT_MS,
  });
  const quota = createCallQuota({
    calls: CALLS_PER_MINUTE,
    keptForDestroys: KEPT_FOR_DESTROYS,
    perMs: MINUTE_MS,
    clock,
    random,
  });

  async function send(request: Omit<HttpRequest, 'signal'>, call: Call): Promise<Answer> {
    const { operation, signal, beforeSending } = call;
    const lane: Lane = operation === 'DestroyInstance' ? 'destroy' : 'other';
    const answered = await takeTurn(lane, call);
    let answer: HttpAnswer;
    try {
      beforeSending?.();
      answer = await http.send({ ...request, signal });
    } catch (thrown) {
      if (!(thrown instanceof HttpFailure)) throw thrown;
      throw failure({ operation, kind: kindOfHttpFailure(thrown, operation), why: thrown.message, cause: thrown });
    } finally {
      answered();
    }
    const said = read(answer);
    // what names an instance is no plain refusal, whatever it says besides
    const mayBeMade = operation === 'CreateInstance' && createdIn(answer.json).id !== undefined;
    if (mayBeMade || !saysTooFrequent(said)) return { json: answer.json, said };
    const askedMs = pauseAskedFor(answer);
    // what is left of the budget is for destroys; one that was refused itself leaves nothing to anybody
    const waitMs = lane === 'other' ? quota.pause('other', askedMs) : pauseAll(askedMs);
    log.warn({ operation, waitMs: Math.ceil(waitMs), status: said.status }, 'tensordock asked for a pause');
    throw failure({ operation, kind: 'rate_limited', why: 'too many requests; nothing was done', said, retryAfterMs: waitMs });
  }

  function pauseAll(askedMs: number): number {
    quota.pause('other', askedMs);
    return quota.pause('destroy', askedMs);
  }

  async function takeTurn(lane: Lane, { operation, signal }: Call): Promise<() => void> {
    try {
      const longestPauseMs = SITS_OUT_LESS_MS[operation] ?? SITS_OUT_MS;
      return await quota.turn({ lane, urgency: URGENCY[operation], signal, longestPauseMs });
    } catch (cause) {
      if (cause instanceof PacerRefusal) {
        const why = 'not sent, since the market asked for a pause';
        throw failure({ operation, kind: 'rate_limited', why, retryAfterMs: cause.waitMs, cause });
      }
      throw failure({ operation, kind: 'unavailable', why: 'not sent, cancelled while it waited its turn', cause });
    }
  }

  /** The longest of what the headers may say; what they say is not always a wait. */
  function pauseAskedFor(answer: HttpAnswer): number {
    const reset = Number(answer.header('x-ratelimit-reset') ?? answer.header('ratelimit-reset') ?? Number.NaN);
    const resetMs = reset > LONGEST_WAIT_S ? reset * SECOND_MS - clock.now() : reset * SECOND_MS;
    const told = [retryAfterMs(answer, clock.now()), resetMs].filter((ms) => ms !== undefined && ms > 0);
    const longest = Math.max(...told.map(Number), 0);
    return Math.min(LONGEST_PAUSE_MS, longest > 0 ? longest : USUAL_PAUSE_MS);
  }

  return {
    locations: (call) => send({ method: 'GET', path: '/api/v2/locations' }, call),
    hostNodes: (call) => send({ method: 'GET', path: '/api/v2/hostnodes', query: { status: 'available' } }, call),
    create: (body, call) => send({ method: 'POST', path: '/api/v2/instances', body }, call),
    getInstance: (id, call) => send({ method: 'GET', path: instancePath(id) }, call),
    listInstances: (call) => send({ method: 'GET', path: '/api/v2/instances' }, call),
    destroy: (id, call) => send({ method: 'DELETE', path: instancePath(id) }, call),
    testToken: (call) => send({ method: 'POST', path: '/api/v2/auth/test' }, call),
  };
}

function instancePath(id: string): string {
  return `/api/v2/instances/${encodeURIComponent(id)}`;
}

/** `https://dashboard.tensordock.com/api/v2/` and `https://dashboard.tensordock.com` are the same place. */
function rootOf(baseUrl: URL): URL {
  const root = new URL(baseUrl);
  root.pathname = root.pathname.replace(/\/+$/, '').replace(/\/api(\/v\d+)?$/, '');
  return root;
}
