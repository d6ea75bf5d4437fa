import { setTimeout as pause } from 'node:timers/promises';
import { seededRandom, type Random } from '../../../src/core/random.ts';
import type { Answer, BrokerProcess } from '../broker-process.ts';
import type { Created, WireSession } from '../wire-session.ts';

/** What a client was told and may count on from then on. */
export interface Promised {
  readonly id: string;
  readonly idempotencyKey: string;
  /** It may be later where the answer to a further extension was lost. */
  expiresAt: string;
  /** `asked`: a DELETE was sent, and nobody has answered yet. */
  stop?: 'asked' | 'answered';
  /** The offer was gone when the create came: such a session fails, and nobody is to blame. */
  offerWasGone?: true;
}

export interface ClientLedger {
  readonly promised: Promised[];
  /** What no client should ever be told, each with what had been promised. */
  readonly broken: string[];
  answered: number;
  unanswered: number;
  extended: number;
  stopped: number;
}

export function createClientLedger(): ClientLedger {
  return { promised: [], broken: [], answered: 0, unanswered: 0, extended: 0, stopped: 0 };
}

type Api = BrokerProcess['api'];

interface ClientDeps {
  readonly name: string;
  /** Another broker each time, where there are several. */
  readonly api: (random: Pick<Random, 'next'>) => Api;
  readonly ledger: ClientLedger;
  readonly random: Pick<Random, 'next'>;
  readonly body: Readonly<Record<string, unknown>>;
  /** Sessions that it keeps open at once. */
  readonly most: number;
  /** Between two things that it does. */
  readonly paceMs: number;
  readonly signal: AbortSignal;
}

/** Refusals that a healthy broker may give: come again. */
const COME_AGAIN = new Set([409, 429, 503, 507]);

/** So many clients with chances of their own; each resolves when it has left. */
export function runClients({
  count,
  seed,
  ...same
}: Omit<ClientDeps, 'name' | 'random'> & { readonly count: number; readonly seed: number }): Promise<void>[] {
  return Array.from({ length: count }, (_, index) =>
    runClient({ ...same, name: `client-${index}`, random: seededRandom(seed + index + 1) }),
  );
}

/** Asks for sessions, looks at them, extends and ends them until it is told to leave; repeats what nobody answered. Never throws for an answer. */
async function runClient(deps: ClientDeps): Promise<void> {
  const { name, ledger, random, body, most, paceMs, signal } = deps;
  const mine: Promised[] = [];
  let ordered = 0;

  while (!signal.aborted) {
    const open = mine.filter(({ stop, offerWasGone }) => stop !== 'answered' && !offerWasGone);
    const choice = random.next();
    const one = open[Math.floor(random.next() * open.length)];
    if (one === undefined || (choice < 0.35 && open.length < most)) await order();
    else if (choice < 0.55) await look(one);
    else if (choice < 0.7) await extend(one);
    else await stop(one);
    await pause(random.next() * 2 * paceMs);
  }

  async function order(): Promise<void> {
    const idempotencyKey = `${name}-${(ordered += 1)}`;
    const answer = await repeated<Created>('POST', `/api/v1/sessions?wait=${Math.floor(random.next() * 2)}`, body, {
      'idempotency-key': idempotencyKey,
    });
    if (answer === undefined || COME_AGAIN.has(answer.status)) return;
    if (answer.status !== 201) return complain('an order', answer);
    const { session, ssh_private_key: privateKey } = answer.body;
    const promised = { id: session.id, idempotencyKey, expiresAt: session.expires_at };
    mine.push(promised);
    ledger.promised.push(promised);
    if (random.next() < 0.3) await orderAgain(promised, privateKey);
  }

  /** As a client that has lost the answer does. */
  async function orderAgain(promised: Promised, privateKey: string | undefined): Promise<void> {
    const answer = await repeated<Created>('POST', '/api/v1/sessions?wait=0', body, {
      'idempotency-key': promised.idempotencyKey,
    });
    if (answer === undefined || COME_AGAIN.has(answer.status)) return;
    const isSame =
      answer.status === 201 && answer.body.session.id === promised.id && answer.body.ssh_private_key === privateKey;
    if (!isSame)
      ledger.broken.push(`${name}: ${promised.id} was ordered again and answered ${answer.status} by another session or key`);
  }

  async function look(one: Promised): Promise<void> {
    const answer = await repeated<WireSession>('GET', `/api/v1/sessions/${one.id}`);
    if (answer === undefined || answer.status === 503) return;
    if (answer.status !== 200) return complain(`a look at ${JSON.stringify(one)}`, answer);
    ledger.broken.push(...whatIsBroken(one, answer.body));
    if (offerWasGone(answer.body)) one.offerWasGone = true;
  }

  async function extend(one: Promised): Promise<void> {
    const answer = await repeated<{ new_expires_at: string; reason?: string }>('POST', `/api/v1/sessions/${one.id}/extend`, {
      additional_hours: 0.05,
    });
    if (answer === undefined || answer.status === 503 || answer.status === 507) return;
    if (answer.status === 409 && one.stop !== undefined) return; // a DELETE whose answer was lost has been heard
    if (answer.status === 409 && offerWasGone(answer.body)) return;
    if (answer.status !== 200) return complain(`an extension of ${JSON.stringify(one)}`, answer);
    one.expiresAt = answer.body.new_expires_at;
    ledger.extended += 1;
  }

  async function stop(one: Promised): Promise<void> {
    one.stop ??= 'asked';
    const answer = await repeated('DELETE', `/api/v1/sessions/${one.id}?wait=0`);
    if (answer === undefined || answer.status === 503) return;
    if (answer.status !== 200) return complain(`the end of ${JSON.stringify(one)}`, answer);
    one.stop = 'answered';
    ledger.stopped += 1;
  }

  /** Until somebody answers; undefined when told to leave before. */
  async function repeated<Body>(
    method: string,
    path: string,
    payload?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer<Body> | undefined> {
    while (!signal.aborted) {
      try {
        const answer = await deps.api(random)<Body>(method, path, payload, headers);
        ledger.answered += 1;
        return answer;
      } catch {
        ledger.unanswered += 1;
        await pause(20 + random.next() * 80);
      }
    }
    return undefined;
  }

  function complain(what: string, { status, text }: Answer<unknown>): void {
    ledger.broken.push(`${name}: ${what} was answered ${status} ${text}`);
  }
}

function offerWasGone({ reason }: { readonly reason?: string | undefined }): boolean {
  return reason === 'stale_inventory' || reason === 'no_capacity';
}

/** What of a promise a session as it is now does not keep. */
export function whatIsBroken(promised: Promised, session: WireSession): string[] {
  const { status, reason, expires_at: expiresAt } = session;
  const broken: string[] = [];
  if (Date.parse(expiresAt) < Date.parse(promised.expiresAt)) broken.push('its extension is lost');
  if (promised.stop === 'answered' && (status === 'pending' || status === 'provisioning' || status === 'running'))
    broken.push('its end is lost');
  if (
    promised.stop === undefined &&
    !offerWasGone(session) &&
    (status === 'stopping' || status === 'stopped' || status === 'failed')
  )
    broken.push(`it has ended by itself: ${reason} ${session.error}`);
  return broken.map((what) => `${promised.id} is ${status}: ${what}; promised ${JSON.stringify(promised)}`);
}
