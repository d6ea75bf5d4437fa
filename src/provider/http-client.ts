import type { Clock, EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import type { Secret } from '../core/secret.ts';
import type { ProviderErrorKind, ProviderOperation } from './provider-error.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the base URL, with its leading slash; parts that come from data are encoded by the caller. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, instead of `body`: JSON with numbers that JavaScript cannot hold. */
  readonly jsonText?: string;
  readonly signal: AbortSignal;
}

/** An answer of whatever status but 3xx. What it means is the provider's to say. */
export interface HttpAnswer {
  readonly status: number;
  /** Without parameters, lower case; empty when the server said none. */
  readonly contentType: string;
  header(name: string): string | undefined;
  readonly text: string;
  /** The body as JSON, whatever its content type says; undefined when it is none. */
  readonly json: unknown;
}

export type HttpFault = 'cancelled' | 'timed_out' | 'unreachable' | 'broken_off' | 'redirected' | 'too_large';

const FAULT_WORDS: Readonly<Record<HttpFault, string>> = {
  cancelled: 'cancelled',
  timed_out: 'no answer in time',
  unreachable: 'the server cannot be reached',
  broken_off: 'the connection broke off',
  redirected: 'the server answered with a redirect, which is not followed',
  too_large: 'the answer was too large',
};

/** No readable answer. Neither its message nor its causes hold a URL, a header or a body. */
export class HttpFailure extends Error {
  readonly fault: HttpFault;
  /** False only when it is certain that the server never saw the request. */
  readonly mayBeSent: boolean;
  /** The system's word for it: `ECONNREFUSED`, `HTTP_301`. */
  readonly code: string | undefined;

  constructor(fault: HttpFault, { mayBeSent, code }: { readonly mayBeSent: boolean; readonly code?: string | undefined }) {
    super(FAULT_WORDS[fault]);
    this.name = 'HttpFailure';
    this.fault = fault;
    this.mayBeSent = mayBeSent;
    this.code = code;
  }
}

/** What a failure without an answer means to a call: a create that may have been sent is ambiguous, everything else may be asked again. */
export function kindOfHttpFailure({ fault, mayBeSent }: HttpFailure, operation: ProviderOperation): ProviderErrorKind {
  if (fault === 'redirected' || fault === 'too_large') return 'protocol';
  return mayBeSent && operation === 'CreateInstance' ? 'ambiguous' : 'unavailable';
}

export interface HttpClient {
  /** Throws nothing but HttpFailure. */
  send(request: HttpRequest): Promise<HttpAnswer>;
}

export interface HttpClientOptions {
  readonly baseUrl: URL;
  readonly clock: Pick<Clock, 'timeoutSignal'>;
  /** Headers that hold the credentials. */
  readonly credentials?: Readonly<Record<string, Secret<string>>>;
  /** Lets the credentials travel unencrypted to another machine. */
  readonly allowPlainHttp?: boolean;
  /** For the whole exchange, body included. */
  readonly timeoutMs: number;
  /** The longest body that is read, after decompression. */
  readonly maxBytes?: number;
  /** A connection of its own for each request: for servers that close idle ones without a word, where a write on such a one is lost. */
  readonly freshConnections?: boolean;
}

const MAX_BYTES = 32 * 1024 * 1024;

/**
 * The one way in which adapters speak HTTP: global fetch, no redirects, a time-out and a limit of bytes, JSON read leniently.
 * Throws RangeError when the credentials would travel unencrypted to another machine without leave.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { baseUrl, clock, credentials = {}, allowPlainHttp = false, timeoutMs, maxBytes = MAX_BYTES } = options;
  const { freshConnections = false } = options;
  if (Object.keys(credentials).length > 0 && !mayCarryCredentials(baseUrl, { allowPlainHttp })) {
    throw new RangeError('credentials are not sent over plain HTTP to another machine');
  }

  return {
    async send({ method, path, query, body, jsonText, signal }) {
      if (signal.aborted) throw new HttpFailure('cancelled', { mayBeSent: false });
      const limit = clock.timeoutSignal(timeoutMs, signal);
      const url = joinUrl(baseUrl, path, query);
      const json = jsonText ?? (body === undefined ? undefined : JSON.stringify(body));
      try {
        const response = await fetch(url, {
          method,
          redirect: 'manual',
          signal: limit,
          headers: {
            accept: 'application/json',
            'user-agent': 'berth',
            ...(freshConnections && { connection: 'close' }),
            ...(json !== undefined && { 'content-type': 'application/json' }),
            ...Object.fromEntries(Object.entries(credentials).map(([name, secret]) => [name, secret.reveal()])),
          },
          ...(json !== undefined && { body: json }),
        });
        const text = await readText(response, maxBytes);
        if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
          throw new HttpFailure('redirected', { mayBeSent: true, code: `HTTP_${response.status}` });
        }
        let read: { readonly value: unknown } | undefined;
        return {
          status: response.status,
          contentType: (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
          header: (name) => response.headers.get(name) ?? undefined,
          text,
          get json() {
            read ??= { value: parseJson(text) }; // when it is wanted: a long list is read from the text, in pieces
            return read.value;
          },
        };
      } catch (thrown) {
        throw asHttpFailure(thrown, { limit, signal });
      }
    },
  };
}

/** Reads an operator's base URL: http or https, no credentials, query or fragment; undefined for anything else. */
export function parseBaseUrl(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return isPlain && (url.protocol === 'https:' || url.protocol === 'http:') ? url : undefined;
}

/** Whether the URL names this very machine, by an address or name that nobody else can answer for. */
export function isLoopbackUrl({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

export function mayCarryCredentials(url: URL, { allowPlainHttp }: { readonly allowPlainHttp: boolean }): boolean {
  return url.protocol === 'https:' || allowPlainHttp || isLoopbackUrl(url);
}

/** The wait that `Retry-After` (seconds or a date) asks for; undefined without one that can be read. */
export function retryAfterMs(answer: Pick<HttpAnswer, 'header'>, now: EpochMs): number | undefined {
  const asked = answer.header('retry-after')?.trim();
  if (asked === undefined || asked === '') return undefined;
  if (/^\d{1,9}(\.\d+)?$/.test(asked)) return Number(asked) * SECOND_MS;
  const at = Date.parse(asked);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

function joinUrl(base: URL, path: string, query: HttpRequest['query']): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, '')}${path}`;
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  return url;
}

async function readText(response: Response, maxBytes: number): Promise<string> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.byteLength;
    if (length > maxBytes) throw new HttpFailure('too_large', { mayBeSent: true });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what a body that is no JSON means is for the reader of the status to say
  }
}

/** Failures that end a connection before a request can be written to it. */
const NEVER_SENT =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|UND_ERR_CONNECT_TIMEOUT|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID|UNABLE_TO_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ERR_SSL_WRONG_VERSION_NUMBER)$/;

function asHttpFailure(thrown: unknown, { limit, signal }: { limit: AbortSignal; signal: AbortSignal }): HttpFailure {
  if (thrown instanceof HttpFailure) return thrown;
  if (signal.aborted) return new HttpFailure('cancelled', { mayBeSent: true });
  if (limit.aborted) return new HttpFailure('timed_out', { mayBeSent: true });
  const codes = codesOf(thrown);
  const [code] = codes;
  // A name with several addresses fails once for each: only if none of them was reached, nothing was sent.
  const neverSent = codes.length > 0 && codes.every((each) => NEVER_SENT.test(each));
  return neverSent
    ? new HttpFailure('unreachable', { mayBeSent: false, code })
    : new HttpFailure('broken_off', { mayBeSent: true, code });
}

/** fetch wraps the system's error in a TypeError, and several of them in an AggregateError. */
function codesOf(thrown: unknown): readonly string[] {
  if (!(thrown instanceof Error)) return [];
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return thrown.errors.flatMap(codesOf);
  if ('code' in thrown && typeof thrown.code === 'string') return [thrown.code];
  return codesOf(thrown.cause);
}
