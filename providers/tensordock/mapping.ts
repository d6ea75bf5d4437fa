import { createFailure } from '../../src/provider/failure.ts';
import type { HttpAnswer } from '../../src/provider/http-client.ts';
import { providerId } from '../../src/provider/ids.ts';
import type { InstanceState } from '../../src/provider/instance.ts';
import { ProviderError, type ProviderErrorKind, type ProviderOperation } from '../../src/provider/provider-error.ts';
import { complaintIn } from './complaint.ts';

export const TENSORDOCK = providerId('tensordock');

// ---- refusals -------------------------------------------------------------------------------------------------------------------

/** What an answer says about its own failure. The body is read first: it may hold an error under any status. */
export interface Said {
  /** The status in the body where there is one and it is an error, else that of HTTP. */
  readonly status: number;
  /** Whether the error came under a status of success. */
  readonly isHidden: boolean;
  /** A list of `{code, message, path}`: our request is at fault. */
  readonly isValidation: boolean;
  /** All the words of the complaint, lower case; none of a page for people or of broken JSON, where they could mean anything. */
  readonly words: string;
  readonly body: Body;
}

type Body = 'json' | 'text' | 'none' | 'unreadable';

interface RefusalRule {
  readonly name: string;
  /** Any of these, or a class as `4xx`; absent means any. `2xx` is an answer of success that is none. */
  readonly statuses?: readonly (number | '2xx' | '4xx' | '5xx')[];
  readonly says?: RegExp;
  readonly body?: readonly Body[];
  /** Only for an error under a status of success. */
  readonly isHidden?: true;
  readonly isValidation?: true;
  readonly kind: ProviderErrorKind;
  readonly why: string;
}

export interface Refusal {
  readonly rule: string;
  readonly kind: ProviderErrorKind;
  readonly why: string;
}

const NO_FUNDS =
  /need at least \$|insufficient (?:funds|balance|credits?)|(?:balance|credits?) (?:is |are )?(?:too low|insufficient|not enough)|not enough (?:balance|credits?|funds)|\bbalance\b/;
const NO_CAPACITY =
  /no available (?:nodes?|public ips?|gpus?|ports?|external ports?|resources?|host ?nodes?)|insufficient (?:capacity|resources?|gpus?)|out of stock|sold out|resources? (?:is |are )?unavailable|not enough (?:gpus?|resources?|capacity|vcpus?|ram|storage)|no (?:external )?ports? (?:left|available)|no capacity|maintenance/;
const BAD_TOKEN = /invalid api (?:credentials|key|token)|invalid (?:credentials|token)|unauthori[sz]ed|unauthenticated/;
const MAY_HAVE_DEPLOYED = /unexpected error during deployment/;
/** Something was begun, and did not end as it should: it may stand there half-way. */
const BROKE_OFF =
  /unexpected error|tim(?:ed?|ing)[ -]?out|internal (?:server )?error|deployment failed|(?:failed|unable|error) (?:to|while|during) (?:deploy|creat|provision|launch|start|boot)/;
const NO_SUCH_PLACE = /(?:location|host ?node|gpu(?: model)?)\b.{0,60}(?:not found|does not exist|no longer|not available)/;
const OUR_FAULT = /must be forwarded|\bmust (?:be|have|not)\b|\brequired\b|\binvalid\b/;
const BUSY = /must be stopped|already running|currently (?:being|in)|is (?:being )?(?:creat|provision|start|stopp)ing/;
const TOO_FREQUENT = /rate limit|too many requests/;
/** Not a page for people, which is what a proxy or a wrong address answers with. */
const READABLE: readonly Body[] = ['json', 'text', 'none'];
const TOKEN_REFUSED = 'the API token was refused (TENSORDOCK_API_TOKEN)';
const NOT_ALLOWED = 'the API token is not allowed to do that';
const OFFER_GONE = 'the offer is no longer available';
const WRONG_PLACE = 'is TENSORDOCK_BASE_URL the address of the API?';

/** To a create, first match wins. What no row matches is unknown, and so ambiguous. A 429 never comes this far. */
const CREATE_REFUSALS: readonly RefusalRule[] = [
  {
    name: 'may_have_deployed',
    says: MAY_HAVE_DEPLOYED,
    kind: 'ambiguous',
    why: 'the deployment failed half-way; it may have happened',
  },
  { name: 'server', statuses: ['5xx'], kind: 'ambiguous', why: 'the server failed; it may have happened' },
  { name: 'late', statuses: [408, 425, 499], kind: 'ambiguous', why: 'the server gave up; it may have happened' },
  { name: 'no_funds', statuses: ['2xx', '4xx'], says: NO_FUNDS, kind: 'funds', why: "the account's balance is too low" },
  { name: 'payment', statuses: [402], kind: 'funds', why: "the account's balance is too low" },
  { name: 'no_capacity', statuses: ['2xx', '4xx'], says: NO_CAPACITY, kind: 'capacity', why: OFFER_GONE },
  { name: 'bad_token', statuses: [401], kind: 'auth', why: TOKEN_REFUSED },
  { name: 'bad_token_told', statuses: ['2xx', '4xx'], says: BAD_TOKEN, kind: 'auth', why: TOKEN_REFUSED },
  { name: 'not_allowed', statuses: [403], body: READABLE, kind: 'auth', why: NOT_ALLOWED },
  { name: 'place_gone', statuses: ['2xx', 400, 404, 410], says: NO_SUCH_PLACE, kind: 'capacity', why: OFFER_GONE },
  { name: 'no_endpoint', statuses: [404, 405, 410], kind: 'protocol', why: `no such endpoint; ${WRONG_PLACE}` },
  {
    name: 'validation',
    statuses: ['2xx', '4xx'],
    isValidation: true,
    kind: 'rejected',
    why: 'the request was refused as invalid',
  },
  { name: 'broke_off', says: BROKE_OFF, kind: 'ambiguous', why: 'the deployment broke off; it may have happened' },
  { name: 'our_fault', statuses: ['2xx', '4xx'], says: OUR_FAULT, kind: 'rejected', why: 'the request was refused as invalid' },
  // Their usual way to say that no node would take it, in words that change.
  {
    name: 'hidden',
    statuses: ['4xx'],
    isHidden: true,
    body: ['json'],
    kind: 'capacity',
    why: 'the offer could not be deployed',
  },
  { name: 'invalid', statuses: [400, 422], body: ['json'], kind: 'rejected', why: 'the request was refused as invalid' },
];

/** To everything else. */
const OTHER_REFUSALS: readonly RefusalRule[] = [
  { name: 'bad_token', statuses: [401], kind: 'auth', why: TOKEN_REFUSED },
  { name: 'bad_token_told', statuses: ['2xx', '4xx'], says: BAD_TOKEN, kind: 'auth', why: TOKEN_REFUSED },
  { name: 'not_allowed', statuses: [403], body: READABLE, kind: 'auth', why: NOT_ALLOWED },
  { name: 'server', statuses: ['5xx'], kind: 'unavailable', why: 'the server failed' },
  { name: 'late', statuses: [408, 425, 499], kind: 'unavailable', why: 'the server gave up' },
  { name: 'busy', statuses: [409], kind: 'unavailable', why: 'not possible in the present state' },
  { name: 'busy_told', statuses: ['4xx'], says: BUSY, kind: 'unavailable', why: 'not possible in the present state' },
  { name: 'no_endpoint', statuses: [404, 405, 410], kind: 'protocol', why: `no such endpoint; ${WRONG_PLACE}` },
  { name: 'invalid', statuses: ['4xx'], body: ['json'], kind: 'rejected', why: 'the request was refused as invalid' },
];

/** Their words for an instance that does not exist, with or without its id. Of any other thing that is not found they say nothing here. */
const NO_SUCH_INSTANCE =
  /\b(?:instance|(?:virtual ?)?machine|server|vm)(?: with)?(?: the)?(?: (?:uu)?id)?[\s:'"`]*(?:[\w-]{0,99}\d[\w-]{0,99}['"`]?)?\s*(?:(?:was|is|could) )?(?:not (?:be )?found|does not exist|not exist)|already (?:been )?(?:terminated|deleted)|^not found\.?$/;

/** A server's words for an address that it does not have, which says nothing of an instance. */
const NO_SUCH_ROUTE = /page not found|cannot (?:get|post|delete)|\broute\b|no such endpoint/;

export function read({ status, json, text }: HttpAnswer): Said {
  const complaint = complaintIn(json);
  const body = json === undefined ? bodyOf(text) : 'json';
  const isHidden = complaint.isError && isSuccess(status);
  return {
    status: isHidden ? (complaint.status ?? status) : status,
    isHidden,
    isValidation: complaint.isValidation,
    words: (body === 'text' ? text.slice(0, 4_000).trim() : complaint.words).toLowerCase(),
    body,
  };
}

function bodyOf(text: string): Body {
  if (text.trim() === '') return 'none';
  return /^\s*[<{[]/.test(text) ? 'unreadable' : 'text';
}

/** Whether it says that the call worked: a status of success and no complaint in the body. */
export function saysDone({ status, isHidden }: Said): boolean {
  return isSuccess(status) && !isHidden;
}

/** Whether it is the token that is refused; one that is good, but may not do that, is another matter. */
export function saysBadToken({ status, words }: Said): boolean {
  return status === 401 || BAD_TOKEN.test(words);
}

/** What a refusal to `operation` means; undefined when no rule knows. */
function explain(said: Said, operation: ProviderOperation): Refusal | undefined {
  const rules = operation === 'CreateInstance' ? CREATE_REFUSALS : OTHER_REFUSALS;
  const rule = rules.find((candidate) => applies(candidate, said));
  return rule && { rule: rule.name, kind: rule.kind, why: rule.why };
}

/** A 404 about one instance, unless it is a page for people, or words to that effect under another status. */
export function saysNoSuchInstance({ status, isHidden, words, body }: Said): boolean {
  if (BAD_TOKEN.test(words)) return false;
  if (status === 404) return body !== 'unreadable' && !NO_SUCH_ROUTE.test(words);
  return saysRefused({ status, isHidden }) && NO_SUCH_INSTANCE.test(words);
}

/** An empty account or a refused token is no matter of waiting, and half a deployment was not turned away, whatever the status says. */
export function saysTooFrequent({ status, isHidden, words }: Said): boolean {
  if (NO_FUNDS.test(words) || BAD_TOKEN.test(words) || MAY_HAVE_DEPLOYED.test(words)) return false;
  return status === 429 || (saysRefused({ status, isHidden }) && TOO_FREQUENT.test(words));
}

/** Whether it is a verdict on the call. What a server says of its own failure is none, whatever words are in it. */
function saysRefused({ status, isHidden }: Pick<Said, 'status' | 'isHidden'>): boolean {
  return isHidden ? status < 500 : status >= 400 && status < 500;
}

function applies({ statuses, says, body, isHidden, isValidation }: RefusalRule, said: Said): boolean {
  const inClass = `${Math.floor(said.status / 100)}xx`;
  if (statuses && !statuses.some((status) => status === said.status || status === inClass)) return false;
  if (body && !body.includes(said.body)) return false;
  if (isHidden && !said.isHidden) return false;
  if (isValidation && !said.isValidation) return false;
  return says === undefined || says.test(said.words);
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

export const failure = createFailure(
  TENSORDOCK,
  ({ status, isHidden }: Said) => `HTTP ${status}${isHidden ? ' in a body of success' : ''}`,
);

/** The error for an answer that is no success; `otherwise` is what it means when no rule knows its words. */
export function refused(
  said: Said,
  { operation, otherwise }: { operation: ProviderOperation; otherwise: 'protocol' | 'unavailable' | 'ambiguous' },
): ProviderError {
  const refusal = explain(said, operation);
  if (refusal === undefined) return failure({ operation, kind: otherwise, why: 'the answer cannot be read', said });
  return failure({ operation, kind: refusal.kind, why: refusal.why, said });
}

// ---- the life of an instance ----------------------------------------------------------------------------------------------------

interface StatusMeaning {
  readonly becomes: InstanceState;
  /** For the failed. */
  readonly reason?: string;
  /** They bill until they have taken the delete; a row that is still shown afterwards costs nothing. */
  readonly isBilled?: false;
}

const GONE_AT_THEIRS: StatusMeaning = { becomes: 'failed', reason: 'the market has ended the instance', isBilled: false };

/** By their words, lower case and without spaces, hyphens and underscores. */
const STATUSES: ReadonlyMap<string, StatusMeaning> = new Map<string, StatusMeaning>([
  ['creating', { becomes: 'starting' }],
  ['provisioning', { becomes: 'starting' }],
  ['starting', { becomes: 'starting' }],
  ['relocating', { becomes: 'starting' }],
  ['running', { becomes: 'running' }],
  ['stopping', { becomes: 'stopping' }],
  ['deleting', { becomes: 'stopping', isBilled: false }],
  ['stopped', { becomes: 'failed', reason: 'the market stopped the instance: its host gave it up, or the account ran dry' }],
  ['stoppeddisassociated', { becomes: 'failed', reason: 'the host stopped the instance and took its GPU back' }],
  ['outbid', { becomes: 'paused' }],
  ['error', { becomes: 'failed', reason: 'the market reports an error of the instance' }],
  ['deleted', GONE_AT_THEIRS],
  ['terminated', GONE_AT_THEIRS],
]);

/** A word that nobody knows is an instance that is not ready, and never an end. */
export function meaningOf(status: string | undefined): StatusMeaning {
  const word = (status ?? '')
    .slice(0, 100)
    .toLowerCase()
    .replace(/[\s_-]+/g, '');
  return STATUSES.get(word) ?? { becomes: 'starting' };
}
