import { z } from 'zod';
import { openHttpServer } from './http-server.ts';
import type { HttpServer, Reply } from './http-server.ts';

/** One control: `GET name` without a body, or `POST name` with a JSON body. Throwing is answered with 400 and the message. */
export type Control = (body: unknown, query: URLSearchParams) => unknown;
export type Controls = Readonly<Record<string, Control>>;

/** The control plane on a port of its own, so that no control can be reached where the vendor answers. */
export function openControlServer(port: number, controls: Controls): Promise<HttpServer> {
  return openHttpServer(port, async ({ method, path, query, text }) => {
    const control = controls[`${method} ${path}`];
    if (control === undefined)
      return send({ status: 404, json: { error: 'no such control', controls: Object.keys(controls) } });
    try {
      const answer = await control(text === '' ? {} : JSON.parse(text), query);
      return send({ status: 200, json: answer ?? { ok: true } });
    } catch (error) {
      const message =
        error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : String(error);
      return send({ status: 400, json: { error: message } });
    }
  });
}

function send(reply: Reply) {
  return { as: 'reply', reply } as const;
}
