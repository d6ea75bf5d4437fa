import net from 'node:net';
import { PassThrough, type Duplex } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { withTcpServer } from '../../test/support/ssh-server.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { providerId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import { connectTo, dialTo, withTunnel } from './fixtures/tunnels.ts';
import { ROOM_LIMITS } from './room.ts';

const BANNER = 'SSH-2.0-test\r\n';
const until = (check: () => boolean) => vi.waitUntil(check, { timeout: 5_000, interval: 5 });
const unavailable = new ProviderError({
  kind: 'unavailable',
  provider: providerId('market'),
  operation: 'DialSsh',
  message: 'dial SSH at market: no answer',
});

const echo = (socket: net.Socket) => {
  socket.write(BANNER);
  socket.pipe(socket);
};

/** Moves time a little again and again, as far as needed. */
async function passTime(clock: FakeClock, done: () => boolean, stepMs = 100): Promise<number> {
  const startedMs = clock.monotonicMs();
  await vi.waitUntil(
    async () => {
      if (!done()) await clock.advance(stepMs);
      return done();
    },
    { timeout: 10_000, interval: 1 },
  );
  return clock.monotonicMs() - startedMs;
}

describe('a connection that does not get through', () => {
  it('is dialled again until the instance answers, and its client notices nothing', async () => {
    const clock = new FakeClock();
    await withTcpServer(echo, (instance) => {
      let tries = 0;
      const dial = async () => {
        tries += 1;
        if (tries < 4) throw unavailable;
        return dialTo(instance)();
      };
      return withTunnel({ dial, clock }, async ({ port, log }) => {
        const client = await connectTo(port);
        client.socket.write('SSH-2.0-client\r\n');
        await passTime(clock, () => client.heard() === `${BANNER}SSH-2.0-client\r\n`);

        expect(tries).toBe(4);
        expect(log.messages('debug').filter((message) => message === 'instance could not be dialled')).toHaveLength(3);
      });
    });
  });

  it('is told so in a line, and ended, when the instance cannot be reached within 20 seconds', async () => {
    const clock = new FakeClock();
    const dial = () => Promise.reject(unavailable);
    await withTunnel({ dial, clock }, async ({ port, counts }) => {
      const client = await connectTo(port);
      client.socket.write('SSH-2.0-client\r\n');
      const tookMs = await passTime(clock, () => client.isOver());

      expect(tookMs).toBeGreaterThan(19 * SECOND_MS);
      expect(tookMs).toBeLessThan(21 * SECOND_MS);
      expect(client.heard()).toMatch(/^Berth: .*does not answer.*\r\n$/);
      expect(counts.ended).toEqual(['unreachable']);
    });
  });

  it('is ended as well when the provider never answers a dial, and closes what comes after it', async () => {
    const clock = new FakeClock();
    let answer: (stream: Duplex) => void = () => {};
    const dial = () => new Promise<Duplex>((resolve) => (answer = resolve));
    await withTunnel({ dial, clock }, async ({ port, counts }) => {
      const client = await connectTo(port);
      client.socket.write('SSH-2.0-client\r\n');
      await passTime(clock, () => client.isOver());
      expect(counts.ended).toEqual(['unreachable']);

      const late = new PassThrough();
      answer(late);
      await until(() => late.destroyed);
    });
  });

  it('is dialled again when the stream says nothing within 4 seconds: it was opened before the sshd listened', async () => {
    const clock = new FakeClock();
    const mute: net.Socket[] = [];
    await withTcpServer(
      (socket) => void (mute.length === 0 ? mute.push(socket) : echo(socket)),
      (instance) =>
        withTunnel({ dial: dialTo(instance), clock }, async ({ port }) => {
          const client = await connectTo(port);
          client.socket.write('SSH-2.0-client\r\n');
          const tookMs = await passTime(clock, () => client.heard() === `${BANNER}SSH-2.0-client\r\n`);

          expect(tookMs).toBeGreaterThanOrEqual(4 * SECOND_MS);
          expect(tookMs).toBeLessThan(6 * SECOND_MS);
          await until(() => mute[0]?.destroyed ?? false);
        }),
    );
  });

  it('shows nothing of what is no sshd to the client', async () => {
    const clock = new FakeClock();
    await withTcpServer(
      (socket) => void socket.end('ERROR VPS task 1 is not active.\n'),
      (instance) =>
        withTunnel({ dial: dialTo(instance), clock }, async ({ port }) => {
          const client = await connectTo(port);
          client.socket.write('SSH-2.0-client\r\n');
          await passTime(clock, () => client.isOver());

          expect(client.heard()).not.toContain('ERROR');
        }),
    );
  });

  it('stops dialling when its client leaves without a word', async () => {
    const clock = new FakeClock();
    const signals: AbortSignal[] = [];
    const dial = (signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<Duplex>(() => {});
    };
    await withTunnel({ dial, clock }, async ({ port, counts }) => {
      const client = await connectTo(port);
      await until(() => signals.length === 1);
      client.socket.end();

      await until(() => client.isOver());
      expect(signals[0]?.aborted).toBe(true);
      expect(counts.ended).toEqual(['left']);
    });
  });
});

describe('a connection whose client says nothing', () => {
  it('sees the name of the sshd, and is ended after 30 seconds', async () => {
    const clock = new FakeClock();
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance), clock }, async ({ port, counts }) => {
        const client = await connectTo(port);
        await until(() => client.heard() === BANNER);
        await clock.advance(29 * SECOND_MS);
        expect(client.isOver()).toBe(false);

        await passTime(clock, () => client.isOver());
        expect(counts.ended).toEqual(['silent']);
      }),
    );
  });

  it('REL-I2: is the first to go when there are many of them: a real login gets through within 2 s', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance) }, async ({ port, counts }) => {
        const silent = [];
        for (let count = 0; count < 500; count += 1) silent.push(await connectTo(port));
        await until(() => counts.ended.length === 500 - ROOM_LIMITS.youngOfSession);

        const startedMs = performance.now();
        const client = await connectTo(port);
        client.socket.write('SSH-2.0-client\r\n');
        await until(() => client.heard() === `${BANNER}SSH-2.0-client\r\n`);

        expect(performance.now() - startedMs).toBeLessThan(2_000);
        expect(new Set(counts.ended)).toEqual(new Set(['crowded_out']));
        for (const { socket } of silent) socket.destroy();
      }),
    );
  });
});

describe('connections beyond the most that there may be', () => {
  it('are told so, and those that are open are left alone', async () => {
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance), maxConnections: 2 }, async ({ port, counts, server }) => {
        const open = [await connectTo(port), await connectTo(port)];
        for (const client of open) client.socket.write('SSH-2.0-client\r\n');
        await until(() => open.every((client) => client.heard().length > BANNER.length));

        const third = await connectTo(port);
        await until(() => third.isOver());

        expect(third.heard()).toMatch(/^Berth: too many connections/);
        expect(counts.refused).toEqual(['too_many']);
        expect(server.connections()).toEqual([{ provider: 'market', count: 2 }]);
      }),
    );
  });
});

describe('the limits of an open connection', () => {
  async function open(port: number) {
    const client = await connectTo(port);
    client.socket.write('SSH-2.0-client\r\n');
    await until(() => client.heard() === `${BANNER}SSH-2.0-client\r\n`);
    return client;
  }

  it('end it when no byte has passed for the idle time, and not while bytes pass', async () => {
    const clock = new FakeClock();
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance), clock, idleMs: HOUR_MS }, async ({ port, counts }) => {
        const client = await open(port);
        for (let hour = 0; hour < 3; hour += 1) {
          await clock.advance(HOUR_MS - MINUTE_MS);
          const before = client.heard().length;
          client.socket.write('.');
          await until(() => client.heard().length > before);
        }
        expect(client.isOver()).toBe(false);

        await clock.advance(HOUR_MS + 2 * SECOND_MS);
        await until(() => client.isOver());
        expect(counts.ended).toEqual(['idle']);
      }),
    );
  });

  it('end it at its longest life, however busy it is', async () => {
    const clock = new FakeClock();
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance), clock, longestMs: HOUR_MS, idleMs: HOUR_MS }, async ({ port, counts }) => {
        const client = await open(port);
        await clock.advance(HOUR_MS - MINUTE_MS);
        client.socket.write('.');
        await until(() => client.heard().endsWith('.'));
        expect(client.isOver()).toBe(false);

        await clock.advance(MINUTE_MS + 2 * SECOND_MS);
        await until(() => client.isOver());
        expect(counts.ended).toEqual(['too_long']);
      }),
    );
  });

  it('are none where they are 0', async () => {
    const clock = new FakeClock();
    await withTcpServer(echo, (instance) =>
      withTunnel({ dial: dialTo(instance), clock }, async ({ port }) => {
        const client = await open(port);
        await clock.advance(HOUR_MS);

        client.socket.write('.');
        await until(() => client.heard().endsWith('.'));
      }),
    );
  });

  it('REL-I4: end it a minute after one side has ended and the other says nothing more', async () => {
    const clock = new FakeClock();
    const neverEnds = (socket: net.Socket) => void socket.write(BANNER);
    await withHangingServer(neverEnds, (instance) =>
      withTunnel({ dial: dialTo(instance), clock }, async ({ port, counts, server }) => {
        const client = await connectTo(port);
        await until(() => client.heard() === BANNER);
        client.socket.end('SSH-2.0-client\r\n');
        await until(() => counts.bytes.to_instance > 0);
        await clock.advance(50 * SECOND_MS);
        expect(server.connections()).toHaveLength(1);

        await passTime(clock, () => server.connections().length === 0);
        expect(counts.ended).toEqual(['half_open']);
      }),
    );
  });
});

/** Reads, and never ends its own half. */
async function withHangingServer<T>(greet: (socket: net.Socket) => void, use: (port: number) => Promise<T>): Promise<T> {
  const sockets: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    greet(socket.on('error', () => {}).resume());
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
