import { plainLine } from '../../src/core/text.ts';
import { createFailure } from '../../src/provider/failure.ts';
import type { HttpAnswer } from '../../src/provider/http-client.ts';
import { providerId } from '../../src/provider/ids.ts';
import type { InstanceState } from '../../src/provider/instance.ts';
import type { ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import { RefusalBody, type InstanceRecord } from './schema.ts';

export const VASTAI = providerId('vastai');

// ---- refusals -------------------------------------------------------------------------------------------------------------------

/** What a refusal says, found wherever their servers put it. */
export interface Said {
  readonly status: number;
  /** Their word for it, as `invalid_args`; empty without one. */
  readonly code: string;
  /** All the words of the body, lower case; none of a page for people or of broken JSON, where they could mean anything. */
  readonly words: string;
  readonly body: Body;
}

type Body = 'json' | 'text' | 'none' | 'unreadable';

interface RefusalRule {
  readonly name: string;
  /** Any of these, or a class as `4xx`; absent means any. */
  readonly statuses?: readonly (number | '4xx' | '5xx')[];
  readonly says?: RegExp;
  readonly body?: readonly Body[];
  readonly kind: ProviderErrorKind;
  readonly why: string;
}

export interface Refusal {
  readonly rule: string;
  readonly kind: ProviderErrorKind;
  readonly why: string;
}

const NO_FUNDS = /credit|spend_rate_limit|missing_billing|insufficient balance|insufficient_balance/;
const BAD_KEY = /auth_error|invalid user key|requires login/;
const TOO_FREQUENT = /too frequent|rate_limit_exceeded|search_quota_exceeded|too many requests/;
/** Not a page for people, which is what a proxy or a wrong address answers with. */
const READABLE: readonly Body[] = ['json', 'text', 'none'];
const KEY_REFUSED = 'the API key was refused (VASTAI_API_KEY)';
const KEY_LACKS_SCOPE = 'the API key is not allowed to do that: it lacks a scope';
const RETIRED = 'the endpoint has been retired; this version of the adapter is too old for the API';

/** To a create, first match wins. What no row matches is unknown, and so ambiguous. A 429 never comes this far. */
const CREATE_REFUSALS: readonly RefusalRule[] = [
  {
    name: 'offer_gone',
    statuses: [200, 400, 404, 410],
    says: /no_such_ask/,
    kind: 'capacity',
    why: 'the offer is no longer available',
  },
  { name: 'offer_withdrawn', statuses: [410], says: /410\/3907/, kind: 'capacity', why: 'the offer is no longer available' },
  {
    name: 'no_funds',
    statuses: [200, '4xx'],
    says: NO_FUNDS,
    kind: 'funds',
    why: 'the account has no credit, or may not spend more',
  },
  // a bid that lost can have left a stopped contract, whether or not its id is told
  {
    name: 'bid_lost',
    statuses: [200, '4xx'],
    says: /bid too low|contract is stopped/,
    kind: 'ambiguous',
    why: 'the bid was too low; a stopped contract may have been left',
  },
  {
    name: 'bid_under_floor',
    statuses: [200, '4xx'],
    says: /bid must be at least|bid price must be at least/,
    kind: 'capacity',
    why: 'the lowest bid that the offer takes has risen above ours',
  },
  { name: 'bad_key', statuses: [200, '4xx'], says: BAD_KEY, kind: 'auth', why: KEY_REFUSED },
  { name: 'bad_key_401', statuses: [401], kind: 'auth', why: KEY_REFUSED },
  {
    name: 'not_our_own',
    statuses: [403],
    says: /not your own|403\/3586/,
    kind: 'rejected',
    why: 'this account may not rent that offer',
  },
  { name: 'no_scope', statuses: [403], body: READABLE, kind: 'auth', why: KEY_LACKS_SCOPE },
  { name: 'retired', statuses: [410], kind: 'protocol', why: RETIRED },
  { name: 'late', statuses: [408, 425, 499], kind: 'ambiguous', why: 'the server gave up; it may have happened' },
  {
    name: 'vm_key',
    statuses: ['4xx'],
    says: /no_ssh_key_for_vm/,
    kind: 'rejected',
    why: 'a virtual machine needs an SSH key on the account',
  },
  { name: 'price', statuses: ['4xx'], says: /invalid_price|bid price/, kind: 'rejected', why: 'the bid is out of range' },
  { name: 'label', statuses: ['4xx'], says: /label_too_long/, kind: 'rejected', why: 'the label is too long' },
  { name: 'template', statuses: ['4xx'], says: /template/, kind: 'rejected', why: 'the template was refused' },
  { name: 'disk', statuses: ['4xx'], says: /\bdisk\b/, kind: 'rejected', why: 'the disk size was refused' },
  { name: 'image', statuses: ['4xx'], says: /\bimage\b/, kind: 'rejected', why: 'the image was refused' },
  { name: 'invalid', statuses: ['4xx'], body: READABLE, kind: 'rejected', why: 'the request was refused as invalid' },
  {
    name: 'unreadable',
    statuses: ['4xx'],
    kind: 'protocol',
    why: 'the answer cannot be read; is VASTAI_BASE_URL the address of the API?',
  },
];

/** To everything else. A wrong key can come as 404, so it stands before everything that reads a 404. */
const OTHER_REFUSALS: readonly RefusalRule[] = [
  { name: 'bad_key', statuses: [200, '4xx'], says: BAD_KEY, kind: 'auth', why: KEY_REFUSED },
  { name: 'retired', statuses: [410], kind: 'protocol', why: RETIRED },
  { name: 'retired_text', says: /deprecated_endpoint/, kind: 'protocol', why: RETIRED },
  { name: 'bad_key_401', statuses: [401], kind: 'auth', why: KEY_REFUSED },
  { name: 'no_scope', statuses: [403], body: READABLE, kind: 'auth', why: KEY_LACKS_SCOPE },
  {
    name: 'bad_cursor',
    statuses: [200, 400],
    says: /invalid_token/,
    kind: 'protocol',
    why: 'the cursor of the list was refused',
  },
  { name: 'no_funds', statuses: [200, '4xx'], says: NO_FUNDS, kind: 'funds', why: 'the account has no credit' },
  { name: 'server', statuses: ['5xx'], kind: 'unavailable', why: 'the server failed' },
  { name: 'late', statuses: [408, 425, 499], kind: 'unavailable', why: 'the server gave up' },
  {
    name: 'no_endpoint',
    statuses: [404],
    kind: 'protocol',
    why: 'no such endpoint; is VASTAI_BASE_URL the address of the API?',
  },
  { name: 'busy', statuses: [409], kind: 'unavailable', why: 'not possible in the present state' },
  { name: 'invalid', statuses: ['4xx'], body: ['json'], kind: 'rejected', why: 'the request was refused as invalid' },
];

/** Their words for an instance that does not exist. A 404 alone says nothing: a wrong key is one, too. */
const NO_SUCH_INSTANCE = /no_such_instance|not_found|no such instance|instance not found/;

export function read({ status, json, text }: HttpAnswer): Said {
  const parsed = RefusalBody.safeParse(json);
  const { error = '', msg = '', message = '', detail = '', code = '' } = parsed.success ? parsed.data : {};
  const body = parsed.success ? 'json' : bodyOf(text);
  const words = parsed.success ? [error, msg, message, detail, code].join('\n') : body === 'text' ? text : '';
  return {
    status,
    code: /^[a-z_]{1,40}$/.test(error) ? error : '',
    words: words.slice(0, 4_000).toLowerCase().trim(),
    body,
  };
}

function bodyOf(text: string): Body {
  if (text.trim() === '') return 'none';
  return /^\s*[<{[]/.test(text) ? 'unreadable' : 'text';
}

/** What a refusal to `operation` means; undefined when no rule knows. */
export function explain(said: Said, operation: ProviderOperation): Refusal | undefined {
  const rules = operation === 'CreateInstance' ? CREATE_REFUSALS : OTHER_REFUSALS;
  const rule = rules.find((candidate) => applies(candidate, said));
  return rule && { rule: rule.name, kind: rule.kind, why: rule.why };
}

export function saysNoSuchInstance({ status, words }: Said): boolean {
  return (status === 404 || (status >= 200 && status < 300)) && NO_SUCH_INSTANCE.test(words) && !BAD_KEY.test(words);
}

/** An empty account or a wrong key is no matter of waiting, whatever the status says. */
export function saysTooFrequent({ status, words }: Said): boolean {
  if (NO_FUNDS.test(words) || BAD_KEY.test(words)) return false;
  return status === 429 || (status >= 400 && status < 500 && TOO_FREQUENT.test(words));
}

export function saysBadCursor({ words }: Said): boolean {
  return words.includes('invalid_token');
}

function applies({ statuses, says, body }: RefusalRule, said: Said): boolean {
  const inClass = `${Math.floor(said.status / 100)}xx`;
  if (statuses && !statuses.some((status) => status === said.status || status === inClass)) return false;
  if (body && !body.includes(said.body)) return false;
  return says === undefined || says.test(said.words);
}

export const failure = createFailure(VASTAI, ({ status, code }: Said) => `HTTP ${status} ${code}`.trim());

// ---- the life of an instance ----------------------------------------------------------------------------------------------------

interface StatusStory {
  readonly name: string;
  readonly when: (record: InstanceRecord) => boolean;
  /** `silent`: the host does not answer; a while later that is a failure. */
  readonly becomes: InstanceState | 'silent';
  /** For the failed. */
  readonly reason?: string;
}

const RAN_DRY_OR_GAVE_UP = 'the market stopped the instance: its host gave it up, its contract ended, or the account ran dry';
const STATUS: Readonly<Record<'booting' | 'again' | 'ended' | 'silent', ReadonlySet<string>>> = {
  booting: new Set(['created', 'loading', 'scheduling']),
  again: new Set(['rebooting', 'restarting', 'recycling']),
  ended: new Set(['exited', 'stopped', 'frozen']),
  silent: new Set(['unknown', 'offline']),
};

const statusOf = ({ actual_status: status }: InstanceRecord) => status?.trim().toLowerCase() || undefined;
const isIn = (words: ReadonlySet<string>) => (record: InstanceRecord) => words.has(statusOf(record) ?? '');
const isBooting = (record: InstanceRecord) => statusOf(record) === undefined || isIn(STATUS.booting)(record);
const isBid = (record: InstanceRecord) => record.is_bid === true;

/** Their platform has taken the machine back, or has never got it going: whatever its last report says, nothing will run. */
function isStopped({ intended_status: intended, cur_state: current, next_state: next }: InstanceRecord): boolean {
  return intended === undefined ? current === 'stopped' && next === 'stopped' : intended.toLowerCase() === 'stopped';
}

/** The first that fits tells what to believe. */
const STATUS_STORIES: readonly StatusStory[] = [
  { name: 'broken while booting', when: (record) => isBooting(record) && bootFault(record) !== undefined, becomes: 'failed' },
  { name: 'outbid', when: (record) => isStopped(record) && isBid(record), becomes: 'paused' },
  { name: 'stopped by the market', when: isStopped, becomes: 'failed', reason: RAN_DRY_OR_GAVE_UP },
  { name: 'booting', when: isBooting, becomes: 'starting' },
  { name: 'running', when: (record) => statusOf(record) === 'running', becomes: 'running' },
  { name: 'booting again', when: isIn(STATUS.again), becomes: 'starting' },
  { name: 'outbid, as told by the host', when: (record) => isIn(STATUS.ended)(record) && isBid(record), becomes: 'paused' },
  { name: 'ended by itself', when: isIn(STATUS.ended), becomes: 'failed', reason: 'the container ended by itself' },
  { name: 'host does not answer', when: isIn(STATUS.silent), becomes: 'silent' },
];

export interface ToldStatus {
  readonly story: string;
  readonly becomes: InstanceState | 'silent';
  readonly reason: string;
  /** For the failed, where it is known not to be the machine's. */
  readonly fault?: 'funds';
}

export function tellStatus(record: InstanceRecord): ToldStatus {
  const found = STATUS_STORIES.find(({ when }) => when(record));
  // a word that nobody knows is an instance that is not ready
  if (found === undefined) return { story: 'unheard of', becomes: 'starting', reason: '' };
  return { story: found.name, becomes: found.becomes, reason: found.reason ?? bootFault(record) ?? '' };
}

/** The account's credit has to be looked at before another tenant or the host is blamed for these. */
export function mayBeForCredit({ story }: ToldStatus): boolean {
  return story.startsWith('outbid') || story === 'stopped by the market';
}

/** A booting instance whose host printed one of these never recovers. Whole words, since package names hold them, too. */
const BOOT_FAULTS: readonly { readonly says: RegExp; readonly reason: string }[] = [
  { says: /manifest unknown|manifest for .{1,300} not found/, reason: 'the image has no such tag' },
  { says: /pull access denied|(?<![\w-])unauthorized(?![\w-])/, reason: 'the image does not exist or is not public' },
  { says: /toomanyrequests/, reason: 'the image registry refused the host: too many pulls' },
  { says: /no space left/, reason: "the host's disk is full" },
  { says: /oci runtime|cdi device/, reason: 'the host could not start the container (OCI runtime or GPU device)' },
  { says: /(?<![\w-])(?:error|failed)(?![\w-])/, reason: 'the host reported an error while it started the container' },
];

function bootFault({ status_msg: message }: InstanceRecord): string | undefined {
  if (message === undefined) return undefined;
  const words = plainLine(message, 8_000).toLowerCase();
  return BOOT_FAULTS.find(({ says }) => says.test(words))?.reason;
}
