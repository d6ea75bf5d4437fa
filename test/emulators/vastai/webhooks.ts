import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { bodyOf, ok, refusal } from './context.ts';
import type { Context } from './context.ts';
import { isChance } from './world.ts';
import type { Webhook, World } from './world.ts';

const MOST_WEBHOOKS = 4;
const MOST_ATTEMPTS = 5;
const RETRY_MS = 10_000;
const LATEST_MS = 20_000;
export const EVENT_KEYS = ['client:outbid', 'client:low_credit'] as const;

const Registration = z.object({ url: z.url(), secret: z.string().default(''), events: z.array(z.string()).default([]) });

export function addWebhook(context: Context): Reply {
  const { world } = context;
  const parsed = Registration.safeParse(bodyOf(context));
  if (!parsed.success) return refusal(400, 'invalid_args', 'url and events are needed');
  if (world.webhooks.length >= MOST_WEBHOOKS) return refusal(400, 'invalid_args', 'There are four webhooks already.');
  const webhook = { id: world.nextId(), ...parsed.data };
  world.webhooks.push(webhook);
  return ok({ success: true, webhook: { id: webhook.id, url: webhook.url, events: webhook.events } });
}

export function listWebhooks({ world }: Context): Reply {
  return ok({ success: true, webhooks: world.webhooks.map(({ id, url, events }) => ({ id, url, events })) });
}

export function deleteWebhook({ world, params }: Context): Reply {
  const index = world.webhooks.findIndex(({ id }) => id === Number(params[0]));
  if (index < 0) return refusal(404, 'not_found', 'No such webhook.');
  world.webhooks.splice(index, 1);
  return ok({ success: true });
}

export function notificationTypes(): Reply {
  return ok({ success: true, notification_types: EVENT_KEYS.map((key) => ({ key })) });
}

/** Tells whoever registered: later, in any order, at least once, and again after 408, 429, 5xx or silence. It names no instance but in its text. */
export function notify(world: World, event: { key: (typeof EVENT_KEYS)[number]; subject: string; message: string }): void {
  const body = JSON.stringify({
    event_id: Buffer.from(world.random.bytes(16)).toString('hex'),
    user_id: world.account.userId,
    notif_type: event.key.slice('client:'.length),
    subject: event.subject,
    message: event.message,
    timestamp: world.now() / 1_000,
  });
  for (const webhook of world.webhooks) {
    if (!webhook.events.includes(event.key)) continue;
    const times = isChance(world, world.knobs.webhookTwiceShare) ? 2 : 1;
    for (let time = 0; time < times; time += 1) planDelivery(world, webhook, body, 1, world.random.next() * LATEST_MS);
  }
}

function planDelivery(world: World, webhook: Webhook, body: string, attempt: number, inMs: number): void {
  world.agenda.at(world.now() + inMs, () => {
    void deliver(world, webhook, body, attempt).then((isTaken) => {
      if (!isTaken && attempt < MOST_ATTEMPTS) planDelivery(world, webhook, body, attempt + 1, RETRY_MS);
    });
  });
}

/** False when it has to be sent again. */
async function deliver(world: World, { url, secret }: Webhook, body: string, attempt: number): Promise<boolean> {
  const timestamp = String(Math.floor(world.now() / 1_000));
  const signature = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
  const headers = {
    'content-type': 'application/json',
    'x-vast-event-id': /"event_id":"(\w+)"/.exec(body)?.[1] ?? '',
    'x-vast-delivery-attempt': String(attempt),
    'x-vast-timestamp': timestamp,
    'x-vast-signature-256': `sha256=${signature}`,
  };
  try {
    const { status } = await fetch(url, { method: 'POST', headers, body });
    return status !== 408 && status !== 429 && status < 500;
  } catch {
    return false; // nobody listens: as good as silence
  }
}
