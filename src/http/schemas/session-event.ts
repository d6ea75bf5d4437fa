import { z } from 'zod';
import { toUsd } from '../../core/money.ts';
import type { SessionEvent } from '../../db/tables.ts';
import { wireTime } from '../wire-time.ts';
import { time } from './wire-values.ts';

export const EventBody = z
  .object({
    id: z.int().describe("The session's version with it; rises, with gaps. What Last-Event-ID takes."),
    kind: z.string().describe('noun.past, such as session.running.'),
    at: time,
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event', description: 'One thing that happened to a session.' });

/** Instants become texts and money becomes dollars here, as everywhere on the wire. */
export function eventToWire({ version, kind, at, data }: SessionEvent): z.infer<typeof EventBody> {
  const fields = Object.entries(data).map(([name, value]): [string, unknown] => {
    if (typeof value !== 'number') return [name, value];
    if (name.endsWith('_at')) return [name, wireTime(value)];
    return name.endsWith('_micros') ? [name.slice(0, -'_micros'.length), toUsd(value)] : [name, value];
  });
  return { id: version, kind, at: wireTime(at), data: Object.fromEntries(fields) };
}
