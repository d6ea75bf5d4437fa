import type { SessionBody } from '../../src/http/schemas/session.ts';
import { until, type Answer, type BrokerProcess } from './broker-process.ts';
import type { SshLogin } from './stock-ssh.ts';

export type WireSession = SessionBody;

export interface Created {
  readonly session: WireSession;
  readonly ssh_private_key?: string;
}

/** Any offer of the simulated market that has a GPU. */
export const A_GPU = { gpu_count: 1 } as const;

interface Order {
  readonly body?: Readonly<Record<string, unknown>>;
  /** Seconds until it runs; `verdict` leaves it to the broker: until a provider has accepted. */
  readonly wait?: number | 'verdict';
  readonly headers?: Readonly<Record<string, string>>;
}

/** POST; fails unless a session was made. */
export async function rent(broker: BrokerProcess, { body = A_GPU, wait = 60, headers }: Order = {}): Promise<Created> {
  const answer = await broker.api<Created>(
    'POST',
    `/api/v1/sessions${wait === 'verdict' ? '' : `?wait=${wait}`}`,
    body,
    headers,
  );
  if (answer.status !== 201) throw new Error(`no session: ${answer.status} ${answer.text}`);
  return answer.body;
}

/** As `rent`, and the session runs. */
export async function rentRunning(broker: BrokerProcess, order: Omit<Order, 'wait'> = {}): Promise<Created> {
  const created = await rent(broker, order);
  if (created.session.status !== 'running') throw new Error(`the session does not run: ${JSON.stringify(created.session)}`);
  return created;
}

export async function sessionOf(
  broker: BrokerProcess,
  id: string,
  headers?: Readonly<Record<string, string>>,
): Promise<WireSession> {
  const answer = await broker.api<WireSession>('GET', `/api/v1/sessions/${id}`, undefined, headers);
  if (answer.status !== 200) throw new Error(`no session ${id}: ${answer.status} ${answer.text}`);
  return answer.body;
}

/** Waits for a session to be as described. */
export async function untilSession(
  broker: BrokerProcess,
  id: string,
  isSo: (session: WireSession) => boolean,
  boundMs?: number,
): Promise<WireSession> {
  let last: WireSession | undefined;
  try {
    return await until(
      isSo.toString(),
      async () => {
        last = await sessionOf(broker, id);
        return isSo(last) ? last : undefined;
      },
      boundMs,
    );
  } catch (error) {
    throw new Error(`session ${id} never came so far: ${JSON.stringify(last)}`, { cause: error });
  }
}

export function end(broker: BrokerProcess, id: string, wait = 60): Promise<Answer<{ status: string; message: string }>> {
  return broker.api('DELETE', `/api/v1/sessions/${id}?wait=${wait}`);
}

/** Ends it and waits until its provider's window has passed and its cost is fixed. */
export async function endForGood(broker: BrokerProcess, id: string): Promise<WireSession> {
  await end(broker, id);
  return untilSession(broker, id, ({ destroy_verified_at }) => destroy_verified_at !== undefined);
}

export function loginOf(session: WireSession, privateKey: string | undefined): SshLogin {
  const { ssh_host: host, ssh_port: port, ssh_user: user, ssh_host_key: hostKey } = session;
  if (host === undefined || port === undefined || user === undefined || hostKey === undefined || privateKey === undefined)
    throw new Error(`no way in: ${JSON.stringify(session)}`);
  return { host, port, user, hostKey, privateKey };
}
