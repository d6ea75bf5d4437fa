import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import { until } from './broker-process.ts';

export interface StreamedEvent {
  readonly id: number;
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventStream {
  readonly received: readonly StreamedEvent[];
  /** Resolves with the first event of this kind, also one that came before. */
  event(kind: string): Promise<StreamedEvent>;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  close(): void;
}

/** The history of a session as a stream of server-sent events. */
export async function openEventStream(
  url: string,
  sessionId: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<EventStream> {
  const outgoing = request(`${url}/api/v1/sessions/${sessionId}/events`, {
    agent: false,
    headers: { accept: 'text/event-stream', ...headers },
  });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]; // as the event's documentation has it
  if (response.statusCode !== 200) throw new Error(`no stream of events: status ${response.statusCode}`);
  const received: StreamedEvent[] = [];
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      const body = JSON.parse(data) as { kind?: string; data?: Record<string, unknown> }; // events are JSON objects
      received.push({ id: Number(id), kind: body.kind ?? event ?? '', data: body.data ?? body });
    },
  });
  response.setEncoding('utf8').on('data', (text: string) => parser.feed(text));
  response.on('error', () => undefined); // a broker that is killed cuts its streams
  outgoing.on('error', () => undefined);
  return {
    received,
    event: (kind) => until(`the event ${kind}`, () => received.find((event) => event.kind === kind)),
    ended: once(response, 'close').then(() => undefined),
    close: () => response.destroy(),
  };
}
