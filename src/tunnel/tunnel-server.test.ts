import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { withTcpServer } from '../../test/support/ssh-server.ts';
import { connectTo, dialTo, freePort, sessionIdOf, withTunnel } from './fixtures/tunnels.ts';

const BANNER = 'SSH-2.0-test\r\n';
const until = (check: () => boolean) => vi.waitUntil(check, { timeout: 5_000, interval: 5 });
const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** A sshd that names itself and then says everything back. */
const echo = (socket: net.Socket) => {
  socket.write(BANNER);
  socket.pipe(socket);
};

describe('a tunnel', () => {
  it('leads to the instance: what either side says reaches the other, from its first byte', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, counts }) => {
        const client = await connectTo(port);
        client.socket.write('SSH-2.0-client\r\nhello');
        await until(() => client.heard().endsWith('hello'));

        expect(client.heard()).toBe(`${BANNER}SSH-2.0-client\r\nhello`);
        expect(counts.bytes).toEqual({ to_instance: 21, to_consumer: BANNER.length + 21 });
      }),
    );
  });

  it('dials the instance anew for each connection, and keeps them apart', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, server }) => {
        const clients = await Promise.all([connectTo(port), connectTo(port)]);
        for (const [index, client] of clients.entries()) client.socket.write(`SSH-2.0-${index}\r\n`);
        await until(() => clients.every((client, index) => client.heard() === `${BANNER}SSH-2.0-${index}\r\n`));

        expect(server.connections()).toEqual([{ provider: 'market', count: 2 }]);
      }),
    );
  });

  it('REL-I4: passes the end of one half on, and lets the other half go on', async () => {
    const answersAtTheEnd = (socket: net.Socket) => {
      const pieces: Buffer[] = [];
      socket.write(BANNER);
      socket.on('data', (piece: Buffer) => pieces.push(piece));
      socket.on('end', () => socket.end(`got ${Buffer.concat(pieces).toString()}`));
    };
    await withHalfOpenServer(answersAtTheEnd, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, counts }) => {
        const client = await connectTo(port);
        client.socket.end('all of it');
        await until(() => client.hasEnded());

        expect(client.heard()).toBe(`${BANNER}got all of it`);
        await until(() => counts.ended.length > 0);
        expect(counts.ended).toEqual(['finished']);
      }),
    );
  });

  it('passes the end of the instance on, and lets the client go on', async () => {
    let heard = '';
    const speaksFirst = (socket: net.Socket) => {
      socket.end(`${BANNER}bye`);
      socket.on('data', (piece: Buffer) => (heard += piece.toString()));
    };
    await withHalfOpenServer(speaksFirst, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port }) => {
        const client = await connectTo(port);
        await until(() => client.hasEnded());
        client.socket.end('one more word');
        await until(() => heard === 'one more word' && client.isClosed());

        expect(client.heard()).toBe(`${BANNER}bye`);
      }),
    );
  });

  it('delivers what a stream without half-close had said when it ended on its own', async () => {
    const much = 'x'.repeat(300_000);
    const speaks = (socket: net.Socket) => void socket.end(BANNER + much);
    await withTcpServer(speaks, (instance) => {
      const dial = async () => net.connect({ host: '127.0.0.1', port: instance }).on('error', () => {});
      return withTunnel({ dial }, async ({ port }) => {
        const client = await connectTo(port);
        client.socket.write('SSH-2.0-client\r\n');
        await until(() => client.hasEnded());

        expect(client.heard()).toHaveLength(BANNER.length + much.length);
      });
    });
  });

  it('carries 64 MiB each way at once, unchanged', { timeout: 60_000 }, async () => {
    const sent = randomBytes(64 * 1_048_576);
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port }) => {
        const client = await connectTo(port);
        client.socket.write(sent);
        await vi.waitUntil(() => client.socket.bytesRead >= sent.length + BANNER.length, { timeout: 50_000, interval: 20 });

        expect(sha(client.bytes().subarray(BANNER.length))).toBe(sha(sent));
      }),
    );
  });

  it('REL-I6: makes the writer wait for a slow reader, and gathers nothing', async () => {
    let written = 0;
    const pours = (socket: net.Socket) => {
      const block = Buffer.alloc(65_536, 'x');
      socket.write(BANNER);
      const pour = () => {
        for (let isFree = true; isFree && !socket.destroyed; written += block.length) isFree = socket.write(block);
      };
      socket.on('drain', pour);
      pour();
    };
    await withTcpServer(pours, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, counts }) => {
        const client = await connectTo(port);
        await until(() => client.heard().length > 0);
        client.socket.pause();
        let before = -1;
        await vi.waitUntil(() => before === (before = written), { timeout: 10_000, interval: 200 });

        const inTheTunnel = counts.bytes.to_consumer - client.socket.bytesRead;
        expect(inTheTunnel).toBeLessThan(16 * 1_048_576); // the system's own buffers of both sockets, and a MiB of ours
        client.socket.resume();
        await until(() => written > before + 8 * 1_048_576);
      }),
    );
  });

  it('ends the other side when one breaks off', async () => {
    const instances: net.Socket[] = [];
    const keeps = (socket: net.Socket) => {
      instances.push(socket);
      echo(socket);
    };
    await withTcpServer(keeps, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, counts, server }) => {
        const [left, right] = [await connectTo(port), await connectTo(port)];
        for (const client of [left, right]) client.socket.write('SSH-2.0-client\r\n');
        await until(() => instances.length === 2 && [left, right].every((client) => client.heard().length > BANNER.length));

        left.socket.resetAndDestroy();
        await until(() => instances.filter(({ destroyed }) => destroyed).length === 1);
        for (const socket of instances) if (!socket.destroyed) socket.resetAndDestroy();
        await until(() => right.isOver());
        right.socket.end();

        await until(() => server.connections().length === 0);
        expect(counts.ended).toEqual(['broken', 'broken']);
      }),
    );
  });
});

describe('the ports of a tunnel server', () => {
  it('lead to their own session and to no other', async () => {
    const named = (name: string) => (socket: net.Socket) => void socket.write(`SSH-2.0-${name}\r\n`);
    await withTcpServer(named('one'), (one) =>
      withTcpServer(named('two'), (two) =>
        withTunnel({ dial: dialTo(one) }, async ({ port, server, route }) => {
          const other = { ...route, sessionId: sessionIdOf(2), port: await freePort(), dial: dialTo(two) };
          await server.open(other);
          server.admit(other.sessionId);

          const [first, second] = [await connectTo(port), await connectTo(other.port)];
          await until(() => first.heard() !== '' && second.heard() !== '');
          expect([first.heard(), second.heard()]).toEqual(['SSH-2.0-one\r\n', 'SSH-2.0-two\r\n']);

          server.close(other.sessionId);
          await until(() => second.isOver());
          expect(first.isOver()).toBe(false);
        }),
      ),
    );
  });

  it('let nobody in before they are known to be the session’s', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ server, route }) => {
        const early = { ...route, sessionId: sessionIdOf(2), port: await freePort() };
        await server.open(early);

        const client = await connectTo(early.port);
        await until(() => client.isOver());
        expect(client.heard()).toBe('');
      }),
    );
  });

  it('REL-I8: are closed with their connections at once when the session is over', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, server, route, counts }) => {
        const client = await connectTo(port);
        client.socket.write('SSH-2.0-client\r\n');
        await until(() => client.heard().length > BANNER.length);

        server.close(route.sessionId);

        await until(() => client.isOver());
        expect(counts.ended).toEqual(['session_over']);
        expect(server.routes()).toEqual([]);
        await expect(connectTo(port)).rejects.toThrow('ECONNREFUSED');
      }),
    );
  });

  it('tell when another program holds one', async () => {
    await withTcpServer(echo, (taken) =>
      withTunnel({ dial: dialTo(taken) }, async ({ server, route }) => {
        expect(await server.open({ ...route, sessionId: sessionIdOf(2), port: taken })).toEqual({ kind: 'taken' });
        expect(server.routes()).toEqual([route]);
      }),
    );
  });

  it('are all closed by a stop, and none is opened any more', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, server, route, counts }) => {
        const client = await connectTo(port);
        await until(() => client.heard() === BANNER);

        await server.stop();

        await until(() => client.isOver());
        expect(counts.ended).toEqual(['shutdown']);
        await expect(connectTo(port)).rejects.toThrow('ECONNREFUSED');
        expect(await server.open(route)).toMatchObject({ kind: 'failed' });
      }),
    );
  });
});

/** A TCP server whose sockets keep their halves apart. */
async function withHalfOpenServer<T>(greet: (socket: net.Socket) => void, use: (port: number) => Promise<T>): Promise<T> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    greet(socket.on('error', () => {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    // holds because the server listens on TCP
    return await use((server.address() as net.AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
