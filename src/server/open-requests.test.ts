import { once } from 'node:events';
import { createServer, get, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { watchOpenRequests } from './open-requests.ts';

const server = createServer();
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('watchOpenRequests', () => {
  it('waits for the last answer and no longer, or until it must not wait any more', async () => {
    const requests = watchOpenRequests(server);
    await requests.answered(new AbortController().signal);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo; // it listens on TCP

    const asked = once(server, 'request') as Promise<[unknown, ServerResponse]>; // as the event's documentation has it
    const answer = once(get({ port, host: '127.0.0.1', agent: false }), 'response');
    const [, response] = await asked;
    let isAnswered = false;
    const all = requests.answered(new AbortController().signal).then(() => (isAnswered = true));
    await requests.answered(AbortSignal.abort());
    expect(isAnswered).toBe(false);

    response.end('so far');
    await answer;
    await all;
    expect(isAnswered).toBe(true);
  });
});
