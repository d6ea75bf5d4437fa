import { readdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const Step = z.object({
  /** Its place in the whole recording: what is not spoken by Host or proxy was left out. */
  step: z.int(),
  note: z.string(),
  request: z.object({ method: z.string(), path: z.string(), body: z.unknown().optional() }).optional(),
  response: z.object({ status: z.int(), contentType: z.string(), text: z.string() }).optional(),
  networkError: z.string().optional(),
  tcp: z.object({ sent: z.string().nullable(), received: z.string(), end: z.string() }).optional(),
  observed: z.unknown().optional(),
});
export type Step = z.infer<typeof Step>;

const Recording = z.object({ origin: z.string(), recordedAt: z.string(), scenario: z.string(), steps: z.array(Step) });
export type Recording = z.infer<typeof Recording>;

const FOLDER = new URL('fixtures/', import.meta.url);

/** Conversations with the real Host and its SSH proxy, word for word. */
export function readRecordings(): readonly Recording[] {
  return readdirSync(FOLDER).map((name) => Recording.parse(JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'))));
}
