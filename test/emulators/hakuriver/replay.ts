import { z } from 'zod';
import type { Step } from './recording.ts';
import { dialPort } from './test-client.ts';
import type { Answer, Dialled, TestClient } from './test-client.ts';
import { formatWide, parseWide } from './wide-json.ts';
import type { WideJson } from './wide-json.ts';

const ID = /\d{19}/g;
const Made = z.object({ task_ids: z.array(z.string()) });
const Watched = z.array(z.record(z.string(), z.unknown()));

/** Says to the emulator what a recording says, with the emulator's ids for the recorded ones. */
export interface Replay {
  readonly client: TestClient;
  /** The emulator's id for the last one that a recorded submit made. */
  lastId(): string;
  /** Sends it and does not wait; `play` of the same step waits for it. */
  begin(step: Step): void;
  /** Both as texts in which what differs from run to run (ids, ports, times) reads the same. */
  play(step: Step, at?: string): Promise<Compared>;
  learn(recorded: string, actual: string): void;
  dial(step: Step, waitMs: number, port?: number): Promise<Dialled>;
  translate(text: string): string;
  watch(): Promise<Record<string, unknown>>;
}

export interface Compared {
  readonly recorded: string;
  readonly actual: string;
}

export function createReplay(client: TestClient): Replay {
  const ids = new Map<string, string>();
  const begun = new Map<number, Promise<Answer>>();
  const translate = (text: string) => text.replaceAll(ID, (id) => ids.get(id) ?? id);
  const learn = (recorded: string, actual: string) => void ids.set(recorded, actual);
  const send = (step: Step, at?: string): Promise<Answer> => {
    const { method, path, body } = step.request ?? { method: 'GET', path: '/', body: undefined };
    const text = body === undefined ? undefined : translate(typeof body === 'string' ? body : JSON.stringify(body));
    return client.call(method, translate(path), text, at);
  };
  const lastId = () => [...ids.values()].at(-1) ?? '';
  return {
    client,
    lastId,
    translate,
    learn,
    begin: (step) => void begun.set(step.step, send(step)),
    async play(step, at) {
      const answer = await (begun.get(step.step) ?? send(step, at));
      const { status = 0, contentType = '', text = '' } = step.response ?? {};
      const recordedIds = idsIn(text);
      for (const [index, id] of idsIn(answer.text).entries()) {
        const recorded = recordedIds[index];
        if (recorded !== undefined) learn(recorded, id);
      }
      return {
        recorded: `${status} ${contentType} ${plain(translate(text))}`,
        actual: `${answer.status} ${answer.headers.get('content-type')} ${plain(answer.text)}`,
      };
    },
    dial: (step, waitMs, port = client.emulator.proxyPort) =>
      dialPort(port, typeof step.tcp?.sent === 'string' ? translate(step.tcp.sent) : null, waitMs),
    async watch() {
      const { list } = await client.call('GET', '/nodes');
      const { status, error_message } = await client.status(lastId());
      return {
        ...Object.fromEntries(list.map((node) => [String(node['hostname']), node['status']])),
        task: status,
        error_message,
      };
    },
  };
}

/** The last line of what was watched in the recording, less its time; undefined for another kind of observation. */
export function lastWatched(observed: unknown): Record<string, unknown> | undefined {
  const last = Watched.safeParse(observed).data?.at(-1);
  if (last === undefined || !('task' in last)) return undefined;
  const { after_s: _seconds, ...line } = last;
  return line;
}

function idsIn(text: string): readonly string[] {
  try {
    return Made.safeParse(JSON.parse(text)).data?.task_ids ?? [];
  } catch {
    return [];
  }
}

function plain(text: string): string {
  const masked = text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?/g, 'TIME')
    .replaceAll(/"ssh_port":\d+/g, '"ssh_port":1')
    .replaceAll(/"memory_bytes":\d+/g, '"memory_bytes":1')
    .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'URL')
    .replaceAll('<DIR>', '');
  try {
    // numbers are written anew: 0.0 is 0
    return formatWide(parseWide(masked) as WideJson); // parsed from JSON
  } catch {
    return masked;
  }
}
