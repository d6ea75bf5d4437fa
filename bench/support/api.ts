import { setTimeout as delay } from 'node:timers/promises';

/** What the benches read of a session. */
export interface SessionView {
  readonly id: string;
  readonly status: string;
  readonly error?: string;
  readonly ssh_host?: string;
  readonly ssh_port?: number;
}

async function answerOf(answer: Response): Promise<unknown> {
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} from ${answer.url}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

/** Rents an offer without waiting for anything; the session's id. */
export async function createSession(
  url: string,
  request: { readonly offerId: string; readonly sshPublicKey: string },
): Promise<string> {
  const answer = await fetch(`${url}/api/v1/sessions?wait=0`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ consumer_id: 'bench', offer_id: request.offerId, ssh_public_key: request.sshPublicKey }),
  });
  const { session } = (await answerOf(answer)) as { session: SessionView }; // the broker's own shape, here and below
  return session.id;
}

export async function deleteSession(url: string, id: string): Promise<void> {
  await answerOf(await fetch(`${url}/api/v1/sessions/${id}?wait=30`, { method: 'DELETE' }));
}

/** Waits in the broker; throws when the session ends in another status. */
export async function untilStatus(url: string, id: string, status: string): Promise<SessionView> {
  const deadlineMs = performance.now() + 60_000;
  while (performance.now() < deadlineMs) {
    const session = (await answerOf(await fetch(`${url}/api/v1/sessions/${id}?wait=20&status=${status}`))) as SessionView;
    if (session.status === status) return session;
    if (session.status === 'failed' || session.status === 'stopped')
      throw new Error(`session ${id} is ${session.status}: ${session.error ?? ''}`);
    await delay(50);
  }
  throw new Error(`session ${id} is not ${status} after a minute`);
}

/** When an event of this kind was written, epoch milliseconds. */
export async function eventAt(url: string, id: string, kind: string): Promise<number> {
  const { events } = (await answerOf(await fetch(`${url}/api/v1/sessions/${id}/events`))) as {
    events: { kind: string; at: string }[];
  };
  const event = events.find((each) => each.kind === kind);
  if (!event) throw new Error(`session ${id} has no event ${kind}`);
  return Date.parse(event.at);
}

/** How many sessions there are in a status. */
export async function countSessions(url: string, status: string): Promise<number> {
  const { count } = (await answerOf(await fetch(`${url}/api/v1/sessions?status=${status}&limit=10000`))) as { count: number };
  return count;
}
