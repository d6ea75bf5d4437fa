import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Call {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly remoteAddress: string;
}

export type Reply =
  | { readonly status: number; readonly json: unknown; readonly headers?: Readonly<Record<string, string>> }
  | {
      readonly status: number;
      readonly text: string;
      readonly contentType: string;
      readonly headers?: Readonly<Record<string, string>>;
    };

/** What leaves the wire: a reply, half of one, a cut connection, or silence until the peer gives up. */
export type Delivery = { readonly as: 'reply' | 'half'; readonly reply: Reply } | { readonly as: 'reset' | 'silence' };

export interface HttpServer {
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

/** An HTTP server on one loopback port; 0 takes a free one. A handler that throws is answered with 500 and its message. */
export async function openHttpServer(port: number, handle: (call: Call) => Promise<Delivery>): Promise<HttpServer> {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    response.on('error', () => {}); // a client that hangs up is none of ours
    void answer(request, response, handle);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  // holds because the server listens on TCP
  const { port: taken } = server.address() as AddressInfo;
  return {
    port: taken,
    url: `http://127.0.0.1:${taken}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, handle: (call: Call) => Promise<Delivery>) {
  try {
    deliver(await handle(await readCall(request)), response);
  } catch (error) {
    if (response.destroyed) return;
    deliver({ as: 'reply', reply: { status: 500, text: `emulator: ${String(error)}`, contentType: 'text/plain' } }, response);
  }
}

async function readCall(request: IncomingMessage): Promise<Call> {
  const chunks: Buffer[] = [];
  // a request without an encoding yields buffers
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers))
    headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '');
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers,
    text: Buffer.concat(chunks).toString('utf8'),
    remoteAddress: request.socket.remoteAddress ?? '',
  };
}

function deliver(delivery: Delivery, response: ServerResponse): void {
  if (!('reply' in delivery)) {
    if (delivery.as === 'reset') response.socket?.resetAndDestroy();
    return;
  }
  const { reply } = delivery;
  const isJson = 'json' in reply;
  const body = Buffer.from(isJson ? JSON.stringify(reply.json) : reply.text);
  // No charset: the official client takes nothing but this exact type.
  const contentType = isJson ? 'application/json' : reply.contentType;
  response.writeHead(reply.status, { 'content-type': contentType, 'content-length': body.length, ...reply.headers });
  if (delivery.as === 'reply') {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.socket?.destroy());
}
