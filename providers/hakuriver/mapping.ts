import { createFailure } from '../../src/provider/failure.ts';
import { providerId } from '../../src/provider/ids.ts';
import type { ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import { RefusalBody, type TaskRow } from './schema.ts';

export const HAKURIVER = providerId('hakuriver');
export const LOGIN_USER = 'root';

// ---- refusals -------------------------------------------------------------------------------------------------------------------

/** What an answer says, found in whichever of their four shapes it comes. */
export interface Said {
  readonly status: number;
  /** The words of `detail`; empty without one. */
  readonly detail: string;
  readonly isJson: boolean;
}

export interface Refusal {
  readonly kind: ProviderErrorKind;
  readonly why: string;
}

interface RefusalRule extends Refusal {
  readonly name: string;
  /** Any of these, or a class as `4xx`; absent means any. */
  readonly statuses?: readonly (number | '4xx' | '5xx')[];
  readonly says?: RegExp;
}

const NO_LEAVE = 'the Host refused the token, or its role may not do that: it has to be operator or higher (HAKURIVER_TOKEN)';
const OTHER_VERSION = 'the Host has no such route; is HAKURIVER_HOST_URL the address of the Host?';

/** Why a machine was not taken, as their scheduler puts it. */
const NO_ROOM: readonly { readonly says: RegExp; readonly why: string }[] = [
  { says: /insufficient available cores/, why: 'the machine has not enough free cores' },
  { says: /insufficient available memory/, why: 'the machine has not enough free memory' },
  { says: /requested gpus not available/, why: 'the GPUs of the offer are in use by others' },
  { says: /invalid gpu ids/, why: 'the machine no longer has the GPUs of the offer' },
  { says: /node not registered/, why: 'the machine is no longer in the cluster' },
  { says: /node status is/, why: 'the machine is offline' },
  { says: /no suitable node/, why: 'the machine has no room for it, or is offline' },
];

/** To a create, first match wins. What no row matches is unknown, and so ambiguous: their 500 can come with a VPS that was started. */
const CREATE_REFUSALS: readonly RefusalRule[] = [
  {
    name: 'no room',
    statuses: [503],
    says: /failed to schedule task|no suitable node/,
    kind: 'capacity',
    why: 'the machine cannot take it',
  },
  {
    name: 'runner refused',
    statuses: [502],
    says: /runner rejected/,
    kind: 'capacity',
    why: 'the machine could not start it: no such environment or image, or a GPU that does not work',
  },
  { name: 'no leave', statuses: [401, 403], kind: 'auth', why: NO_LEAVE },
  { name: 'other version', statuses: [404, 405], says: /not found|not allowed/, kind: 'unavailable', why: OTHER_VERSION },
  { name: 'late', statuses: [408, 425, 499], kind: 'ambiguous', why: 'the server gave up; it may have happened' },
  { name: 'invalid', statuses: ['4xx'], says: /./, kind: 'rejected', why: 'the Host refused the request as invalid' },
  { name: 'unreadable', statuses: ['4xx'], kind: 'protocol', why: 'the answer cannot be read' },
];

/** To everything else. */
const OTHER_REFUSALS: readonly RefusalRule[] = [
  { name: 'no leave', statuses: [401, 403], kind: 'auth', why: NO_LEAVE },
  { name: 'server', statuses: ['5xx'], kind: 'unavailable', why: 'the Host failed' },
  { name: 'late', statuses: [408, 425, 499], kind: 'unavailable', why: 'the server gave up' },
  { name: 'busy', statuses: [409], kind: 'unavailable', why: 'not possible in the present state' },
  { name: 'no route', statuses: [404, 405], kind: 'protocol', why: OTHER_VERSION },
  { name: 'invalid', statuses: ['4xx'], says: /./, kind: 'rejected', why: 'the Host refused the request as invalid' },
];

export function read({ status, body }: { readonly status: number; readonly body: unknown }): Said {
  const parsed = RefusalBody.safeParse(body);
  const detail = parsed.success ? parsed.data.detail : undefined;
  const words = typeof detail === 'string' ? detail : detail === undefined ? '' : 'invalid fields';
  return { status, detail: words.slice(0, 4_000).toLowerCase().trim(), isJson: body !== undefined };
}

/** What a refusal to `operation` means; undefined when no rule knows. */
export function explain(said: Said, operation: ProviderOperation): Refusal | undefined {
  if (said.status === 429) return { kind: 'rate_limited', why: 'too many requests; nothing was done' };
  const rules = operation === 'CreateInstance' ? CREATE_REFUSALS : OTHER_REFUSALS;
  const rule = rules.find((candidate) => applies(candidate, said));
  if (rule === undefined) return undefined;
  const told = rule.name === 'no room' ? NO_ROOM.find(({ says }) => says.test(said.detail)) : undefined;
  return { kind: rule.kind, why: told?.why ?? rule.why };
}

const NO_SUCH_TASK =
  /^(?:task|vps)(?: (?:task|instance))?(?: with)?(?: id)?(?: ['"]?\d{1,20}['"]?)? (?:(?:was|is|could) )?not (?:be )?found/;

/** Their words for an id that no row has. Another 404 is a route that does not exist, and says nothing of the id. */
export function saysNoSuchTask({ status, detail }: Said): boolean {
  return status === 404 && NO_SUCH_TASK.test(detail);
}

function applies({ statuses, says }: RefusalRule, said: Said): boolean {
  const inClass = `${Math.floor(said.status / 100)}xx`;
  if (statuses && !statuses.some((status) => status === said.status || status === inClass)) return false;
  return says === undefined || says.test(said.detail);
}

export const failure = createFailure(HAKURIVER, ({ status }: Said) => `HTTP ${status}`);

// ---- the life of a VPS ----------------------------------------------------------------------------------------------------------

/**
 * What a row's status means. `portless`: the container runs, but nobody knows its port. `lost`: the machine was silent for too long; the
 * container may well run. `ended`: the row is closed, which says little about the container. `unknown`: a word that nobody knows.
 */
export type Phase = 'starting' | 'running' | 'portless' | 'paused' | 'lost' | 'ended' | 'unknown';

const PHASES: Readonly<Record<string, Phase>> = {
  assigning: 'starting',
  pending: 'starting',
  pending_approval: 'starting',
  running: 'running',
  paused: 'paused',
  lost: 'lost',
  completed: 'ended',
  failed: 'ended',
  killed: 'ended',
  killed_oom: 'ended',
  stopped: 'ended',
  rejected: 'ended',
};

export function phaseOf({ status, ssh_port: port }: Pick<TaskRow, 'status' | 'ssh_port'>): Phase {
  const phase = PHASES[status?.toLowerCase() ?? ''] ?? 'unknown';
  return phase === 'running' && port === undefined ? 'portless' : phase;
}

const ENDINGS: Readonly<Record<string, string>> = {
  completed: 'the VPS ended by itself',
  failed: 'the machine could not start the VPS, or it broke down',
  killed: 'somebody else killed the VPS',
  killed_oom: 'the VPS was killed because it ran out of memory',
  stopped: 'the container of the VPS is gone from its machine',
  rejected: 'an operator of the cluster did not approve the VPS',
};

/** Why a row is closed, for a consumer to read. */
export function endingOf({ status, exit_code: code }: Pick<TaskRow, 'status' | 'exit_code'>): string {
  const ending = ENDINGS[status?.toLowerCase() ?? ''] ?? 'the VPS has ended';
  return code === undefined || code === 0 ? ending : `${ending} (exit code ${code})`;
}

/** The Host found nobody at the Runner's address: surely nothing was started. */
export function saysRunnerUnreachable({ status, error_message: message }: Pick<TaskRow, 'status' | 'error_message'>): boolean {
  return status === 'failed' && /failed to contact runner.*(attempts failed|refused|connecterror)/i.test(message ?? '');
}

/** The row was closed because its machine said that the start had failed; otherwise the machine may still be at it. */
export function saysStartFailed(row: Pick<TaskRow, 'status' | 'exit_code' | 'error_message'>): boolean {
  if (row.status !== 'failed') return false;
  return saysRunnerUnreachable(row) || /runner rejected/i.test(row.error_message ?? '') || (row.exit_code ?? 0) > 0;
}

/** No machine has anything of it: the start failed, or an operator never approved it. */
export function saysNeverStarted(row: Pick<TaskRow, 'status' | 'exit_code' | 'error_message'>): boolean {
  return row.status === 'rejected' || saysStartFailed(row);
}

/** The Host closed the row without a word to a machine: it gave the VPS up, or was asked to kill what it had not heard to run. */
export function saysNoMachineTold(row: Pick<TaskRow, 'status' | 'exit_code' | 'error_message' | 'started_at'>): boolean {
  if (row.exit_code === -9 || saysNeverStarted(row)) return false; // -9: its machine says that it was ended there
  return row.started_at === undefined || (row.status === 'failed' && row.exit_code === -1);
}
