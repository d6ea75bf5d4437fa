import { once } from 'node:events';
import net from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { generateSshKeyPair, type SshKeyPair } from '../core/openssh-key-pair.ts';
import { Secret } from '../core/secret.ts';
import { withSshServer, withTcpServer, type Answer, type TestSshServer } from '../../test/support/ssh-server.ts';
import type { ProofOutcome, ProofRequest } from './proof.ts';
import { createSshVerifier } from './verifier.ts';

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const verifier = createSshVerifier({ clock: systemClock, log: silent });
const probe = generateSshKeyPair('berth-test-probe');
const consumer = generateSshKeyPair();
const TAG = 'berth-test-00000000000000000000000000-1';

/** A request to one loopback port, as provisioning makes it. */
function aRequest(port: number, changes: Partial<ProofRequest> = {}): ProofRequest {
  return {
    access: { user: 'root', routes: [{ host: '127.0.0.1', port }] },
    privateAddresses: true,
    probe: { privateKey: new Secret(probe.privateKey), publicKey: probe.publicKey },
    consumerPublicKey: consumer.publicKey,
    probeAfter: { kind: 'remove' },
    budgetMs: 5_000,
    ...changes,
  };
}

async function prove(request: ProofRequest, signal = new AbortController().signal): Promise<ProofOutcome> {
  return verifier.prove(request, { signal });
}

/** The server of a healthy instance that was made with both keys. */
async function withInstance<T>(
  use: (server: TestSshServer) => Promise<T>,
  answer?: (command: string) => Answer | undefined,
  hostKey?: SshKeyPair,
): Promise<T> {
  const options = { authorizedKeys: [consumer.publicKey, probe.publicKey] };
  return withSshServer({ ...options, ...(answer ? { answer } : {}), ...(hostKey ? { hostKey } : {}) }, use);
}

/** A stream that is no socket, and may stay half open: as a tunnel's is. */
function dialBare(port: number): () => Promise<Duplex> {
  return async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    return Duplex.from({ readable: socket, writable: socket });
  };
}

async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // holds because the server listens on TCP
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const smi =
  (lines: string, code = 0) =>
  (command: string) =>
    command.startsWith('nvidia-smi') ? { code, output: lines } : undefined;

describe('prove', () => {
  it('logs in, echoes, hands over and pins the host key, on one connection', async () => {
    await withInstance(async (server) => {
      const outcome = await prove(aRequest(server.port));

      expect(outcome).toMatchObject({
        kind: 'proven',
        hostKey: server.hostKey.publicKey,
        strictKex: true,
        handOff: { consumer: 'present', probe: 'removed', probeWasListed: true },
      });
      expect(server.authorizedKeys).toEqual([consumer.publicKey]);
      await expect.poll(() => server.connections.size).toBe(0);
    });
  });

  it('adds the consumer’s key where the provider did not install it', async () => {
    await withSshServer({ authorizedKeys: [probe.publicKey] }, async (server) => {
      const outcome = await prove(aRequest(server.port));

      expect(outcome).toMatchObject({ kind: 'proven', handOff: { consumer: 'added' } });
      expect(server.authorizedKeys).toEqual([consumer.publicKey]);
    });
  });

  it('stores what it knows before the hand-off, and changes no key when that fails', async () => {
    await withInstance(async (server) => {
      const storing = prove(aRequest(server.port, { beforeHandOff: () => Promise.reject(new Error('the store is full')) }));

      await expect(storing).rejects.toThrow('the store is full');
      expect(server.authorizedKeys).toContain(probe.publicKey);
      await expect.poll(() => server.connections.size).toBe(0);
    });
  });

  it.each([{ kind: 'remove' as const }, { kind: 'restrict' as const, tag: TAG }])(
    'finds its own hand-off ($kind) when the broker died before it could record it',
    async (probeAfter) => {
      await withInstance(async (server) => {
        await prove(aRequest(server.port, { probeAfter }));

        const again = await prove(
          aRequest(server.port, { probeAfter, pinnedHostKey: server.hostKey.publicKey, handOffBegun: true }),
        );

        expect(again).toMatchObject({ kind: 'proven', handOff: 'earlier' });
      });
    },
  );

  it('does not take a refused key for a hand-off that never began', async () => {
    await withSshServer({ authorizedKeys: [consumer.publicKey] }, async (server) => {
      const outcome = await prove(aRequest(server.port, { pinnedHostKey: server.hostKey.publicKey }));

      expect(outcome).toMatchObject({ kind: 'not_yet', reason: 'auth_failed' });
    });
  });

  it('tries the routes in order and is proven by the first that works', async () => {
    await withInstance(async (server) => {
      const refused = { host: '127.0.0.1', port: await closedPort() };
      const works = { host: 'localhost', port: server.port };

      const outcome = await prove(aRequest(0, { access: { user: 'root', routes: [refused, works] } }));

      expect(outcome).toMatchObject({ kind: 'proven', route: works });
    });
  });

  it('does not let a silent route eat the time of the next', async () => {
    await withTcpServer(
      () => {},
      async (silentPort) =>
        withInstance(async (server) => {
          const routes = [silentPort, server.port].map((port) => ({ host: '127.0.0.1', port }));

          const outcome = await prove(aRequest(0, { access: { user: 'root', routes }, budgetMs: 3_000 }));

          expect(outcome).toMatchObject({ kind: 'proven', route: { port: server.port } });
        }),
    );
  });

  it('goes through the provider’s own stream where nobody can dial', async () => {
    await withInstance(async (server) => {
      const request = aRequest(0, {
        access: { user: 'root', routes: 'dial' },
        dial: dialBare(server.port),
        privateAddresses: false,
      });

      expect(await prove(request)).toMatchObject({ kind: 'proven', route: 'dial' });
      await expect.poll(() => server.connections.size).toBe(0);
    });
  });

  it('survives a stream of the provider’s that ends on one side in the middle of a command', async () => {
    await withInstance(
      async (server) => {
        const request = aRequest(0, { access: { user: 'root', routes: 'dial' }, dial: dialBare(server.port) });

        expect(await prove(request)).toMatchObject({ kind: 'not_yet', reason: 'connection_closed' });
      },
      () => 'cut',
    );
  });

  it('calls a provider that cannot dial network_unreachable', async () => {
    const dial = () => Promise.reject(new Error('tunnel is down'));

    const outcome = await prove(aRequest(0, { access: { user: 'root', routes: 'dial' }, dial }));

    expect(outcome).toMatchObject({ kind: 'not_yet', reason: 'network_unreachable' });
  });

  it('gives up a dial that never answers, and destroys the stream that comes too late', async () => {
    let arrive: (stream: Duplex) => void = () => {};
    const dial = () => new Promise<Duplex>((resolve) => (arrive = resolve));
    const outcome = await prove(aRequest(0, { access: { user: 'root', routes: 'dial' }, dial, budgetMs: 50 }));
    expect(outcome).toMatchObject({ kind: 'not_yet', reason: 'timeout' });

    const late = new PassThrough();
    arrive(late);

    await expect.poll(() => late.destroyed).toBe(true);
  });

  it('passes on the caller’s abort, not an outcome', async () => {
    await withTcpServer(
      () => {},
      async (port) => {
        const giveUp = new AbortController();
        const proving = prove(aRequest(port), giveUp.signal);
        giveUp.abort(new Error('shutting down'));

        await expect(proving).rejects.toThrow('shutting down');
      },
    );
  });

  it('runs at most so many at once as its gate allows', async () => {
    await withInstance(async (server) => {
      const requests = Array.from({ length: 80 }, () =>
        prove(aRequest(server.port, { probeAfter: { kind: 'restrict', tag: TAG } })),
      );

      await expect.poll(() => server.connections.size).toBeGreaterThan(0);
      expect(server.connections.size).toBeLessThanOrEqual(64);
      const kinds = (await Promise.all(requests)).map(({ kind }) => kind);
      expect(new Set(kinds)).toEqual(new Set(['proven']));
    });
  });

  it.each([
    [false, 'proven'],
    [true, 'not_yet'],
  ])('asks for a terminal where that matters (refused: %s)', async (refusesTerminals, kind) => {
    await withSshServer({ authorizedKeys: [consumer.publicKey, probe.publicKey], refusesTerminals }, async (server) => {
      expect((await prove(aRequest(server.port, { terminal: true }))).kind).toBe(kind);
    });
  });

  it('tells what it measured', async () => {
    await withInstance(async (server) => {
      const outcome = await prove(aRequest(server.port));

      if (outcome.kind !== 'proven') throw new Error(`not proven: ${JSON.stringify(outcome)}`);
      const { dialMs, handshakeMs, echoMs, gpuMs, handOffMs, totalMs } = outcome.timings;
      expect(dialMs + handshakeMs + echoMs + gpuMs + handOffMs).toBeLessThanOrEqual(totalMs);
      expect(handshakeMs).toBeGreaterThan(0);
    });
  });
});

describe('prove: the host', () => {
  it.each(['pinned by an earlier proof', 'vouched for by the provider'])(
    'REL-H1: refuses a host whose key is not the one %s',
    async (which) => {
      await withInstance(async (server) => {
        const other = generateSshKeyPair().publicKey;
        const request = aRequest(server.port);

        const outcome = await prove(
          which.startsWith('pinned')
            ? { ...request, pinnedHostKey: other }
            : { ...request, access: { ...request.access, hostKey: `${other} comment` } },
        );

        expect(outcome).toMatchObject({ kind: 'wrong_host', presentedFingerprint: expect.stringMatching(/^SHA256:.{43}$/) });
        expect(server.commands).toEqual([]);
      });
    },
  );

  it('REL-H2: holds to the pinned key even when the provider vouches for a new one', async () => {
    await withInstance(async (server) => {
      const request = aRequest(server.port);

      const outcome = await prove({
        ...request,
        access: { ...request.access, hostKey: server.hostKey.publicKey },
        pinnedHostKey: generateSshKeyPair().publicKey,
      });

      expect(outcome.kind).toBe('wrong_host');
    });
  });

  it('REL-H12: does not dial loopback, by number or by name, unless the provider’s machines are near', async () => {
    await withInstance(async (server) => {
      for (const host of ['127.0.0.1', 'localhost', '::ffff:127.0.0.1', '0x7f.1']) {
        const request = aRequest(0, {
          access: { user: 'root', routes: [{ host, port: server.port }] },
          privateAddresses: false,
        });
        expect(await prove(request), host).toMatchObject({ kind: 'address_refused' });
      }
      expect(server.connections.size).toBe(0);
    });
  });
});

describe('prove: GPUs', () => {
  const sold = { count: 2, type: 'RTX 4090', vramMib: 24_564 };
  const line = 'NVIDIA GeForce RTX 4090, 24564, 550.54.15\n';

  it('reports the GPUs that were found', async () => {
    await withInstance(
      async (server) => {
        const outcome = await prove(aRequest(server.port, { gpu: sold }));

        const gpu = { name: 'NVIDIA GeForce RTX 4090', vramMib: 24_564, driver: '550.54.15' };
        expect(outcome).toMatchObject({ kind: 'proven', gpus: [gpu, gpu], warnings: [] });
      },
      smi(line + line),
    );
  });

  it('REL-H6: does not accept fewer GPUs than sold, and leaves the keys alone', async () => {
    await withInstance(async (server) => {
      const outcome = await prove(aRequest(server.port, { gpu: sold }));

      expect(outcome).toMatchObject({ kind: 'gpu_mismatch', message: 'sold 2 GPU(s), found 1' });
      expect(server.authorizedKeys).toContain(probe.publicKey);
    }, smi(line));
  });

  it.each([
    ['not installed yet', '', 127],
    ['that cannot reach its driver', "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9],
    ['with another library', 'Failed to initialize NVML: Driver/library version mismatch\n', 18],
    ['that prints what nobody can read', 'No devices were found\n', 0],
  ])('REL-H6: waits for an nvidia-smi %s', async (_case, output, code) => {
    await withInstance(
      async (server) => {
        const outcome = await prove(aRequest(server.port, { gpu: sold }));

        expect(outcome).toMatchObject({ kind: 'not_yet', reason: 'gpu_not_ready' });
      },
      smi(output, code),
    );
  });

  it('REL-H7: stores what a hostile nvidia-smi prints without control characters, and capped', async () => {
    await withInstance(
      async (server) => {
        const outcome = await prove(aRequest(server.port, { gpu: sold }));

        if (outcome.kind !== 'not_yet') throw new Error('expected a failure');
        expect(outcome.message).not.toMatch(/\p{Cc}/u);
        expect(outcome.message.length).toBeLessThan(400);
      },
      smi(`\u001b[2J\u001b]0;owned\u0007${'A'.repeat(5_000)}\u202e\n`),
    );
  });
});

describe('prove: servers that misbehave', () => {
  const notYet = (reason: string) => ({ kind: 'not_yet', reason });

  it('calls a closed port connection_refused', async () => {
    expect(await prove(aRequest(await closedPort()))).toMatchObject(notYet('connection_refused'));
  });

  it('calls a name that does not exist dns_failed', async () => {
    const resolve = () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }));
    const offline = createSshVerifier({ clock: systemClock, log: silent, resolve });
    const request = aRequest(0, { access: { user: 'root', routes: [{ host: 'gpu.example', port: 22 }] } });

    expect(await offline.prove(request, { signal: new AbortController().signal })).toMatchObject(notYet('dns_failed'));
  });

  it('calls a refused key auth_failed', async () => {
    await withSshServer({ authorizedKeys: [] }, async (server) => {
      expect(await prove(aRequest(server.port))).toMatchObject(notYet('auth_failed'));
    });
  });

  it('calls an unreadable probe key key_parse_failed', async () => {
    await withInstance(async (server) => {
      const request = aRequest(server.port, { probe: { privateKey: 'not a key', publicKey: probe.publicKey } });

      expect(await prove(request)).toMatchObject(notYet('key_parse_failed'));
    });
  });

  it('PEER-11.2.13: does not hang on a peer that accepts and stays silent', async () => {
    await withTcpServer(
      () => {},
      async (port) => expect(await prove(aRequest(port, { budgetMs: 200 }))).toMatchObject(notYet('timeout')),
    );
  });

  it.each([
    ['closes before a banner, as an engine’s proxy does', ''],
    ['closes after its banner, as a booting sshd does', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ])('PEER-11.2.14: a server that %s has not refused our key', async (_case, banner) => {
    await withTcpServer(
      (socket) => socket.end(banner),
      async (port) => expect(await prove(aRequest(port))).toMatchObject(notYet('connection_closed')),
    );
  });

  it('PEER-11.2.14: a reset in the handshake is connection_closed', async () => {
    await withTcpServer(
      (socket) => {
        socket.write('SSH-2.0-OpenSSH_9.2\r\n');
        socket.once('data', () => socket.resetAndDestroy());
      },
      async (port) => expect(await prove(aRequest(port))).toMatchObject(notYet('connection_closed')),
    );
  });

  it('REL-H3: ends a banner that drips, within its budget', async () => {
    await withTcpServer(
      (socket) => {
        void (async () => {
          while (!socket.destroyed) {
            socket.write('x');
            await delay(10);
          }
        })();
      },
      async (port) => expect(await prove(aRequest(port, { budgetMs: 300 }))).toMatchObject(notYet('timeout')),
    );
  });

  it('REL-H3: ends a prelude without end at 8 KiB', async () => {
    await withTcpServer(
      (socket) => socket.write('welcome\r\n'.repeat(2_000)),
      async (port) => expect(await prove(aRequest(port))).toMatchObject(notYet('unknown')),
    );
  });

  it('REL-H3: ends a key exchange that never comes', async () => {
    await withTcpServer(
      (socket) => socket.write('SSH-2.0-slow\r\n'),
      async (port) => expect(await prove(aRequest(port, { budgetMs: 200 }))).toMatchObject(notYet('timeout')),
    );
  });

  it('reads a banner that comes byte by byte, behind a prelude', async () => {
    await withInstance(async (server) => {
      const relay = (socket: net.Socket) => {
        const upstream = net.connect(server.port, '127.0.0.1');
        upstream.on('error', () => {});
        socket.pipe(upstream);
        upstream.once('data', (first) => {
          void (async () => {
            for (const byte of Buffer.concat([Buffer.from('hello\r\n'), first])) {
              socket.write(Buffer.from([byte]));
              await delay(1);
            }
            upstream.pipe(socket);
          })();
          upstream.pause();
        });
      };
      await withTcpServer(relay, async (port) => expect(await prove(aRequest(port))).toMatchObject({ kind: 'proven' }));
    });
  });

  it('REL-H4: ends a shell that hangs after login, and frees the connection', async () => {
    await withInstance(
      async (server) => {
        expect(await prove(aRequest(server.port, { budgetMs: 500 }))).toMatchObject(notYet('timeout'));
        await expect.poll(() => server.connections.size).toBe(0);
      },
      () => 'hang',
    );
  });

  it('REL-H4: ends output without end at 64 KiB', async () => {
    await withInstance(
      async (server) => {
        expect(await prove(aRequest(server.port))).toMatchObject(notYet('command_failed'));
        await expect.poll(() => server.connections.size).toBe(0);
      },
      () => 'endless',
    );
  });

  it('calls a shell that answers something else command_failed', async () => {
    await withInstance(
      async (server) => expect(await prove(aRequest(server.port))).toMatchObject(notYet('command_failed')),
      () => ({ code: 0, output: 'ok\n' }),
    );
  });

  it('calls a connection that is cut in the middle of a command connection_closed', async () => {
    await withInstance(
      async (server) => expect(await prove(aRequest(server.port))).toMatchObject(notYet('connection_closed')),
      () => 'cut',
    );
  });

  it('is not proven by a hand-off that the server did not acknowledge', async () => {
    await withInstance(
      async (server) => expect(await prove(aRequest(server.port))).toMatchObject(notYet('command_failed')),
      (command) =>
        command.includes('berth-hand-off') ? { code: 1, output: 'berth-hand-off-failed cannot write in ~/.ssh\n' } : undefined,
    );
  });

  it('REL-H5: survives a server that sends garbage after its banner', async () => {
    await withTcpServer(
      (socket) => socket.write(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(100_000, 0xff)])),
      async (port) => expect(await prove(aRequest(port, { budgetMs: 2_000 }))).toMatchObject({ kind: 'not_yet' }),
    );
  });
});

describe('probePort', () => {
  const options = { privateAddresses: true, budgetMs: 300, signal: new AbortController().signal };

  it('sees the banner of a server', async () => {
    await withInstance(async ({ port }) => {
      expect(await verifier.probePort({ host: '127.0.0.1', port }, options)).toMatchObject({
        kind: 'banner',
        banner: expect.stringMatching(/^SSH-2\.0-/),
      });
    });
  });

  it('is not deceived by a port that accepts and closes', async () => {
    await withTcpServer(
      (socket) => socket.end(),
      async (port) =>
        expect(await verifier.probePort({ host: '127.0.0.1', port }, options)).toMatchObject({ reason: 'connection_closed' }),
    );
  });

  it('refuses the metadata address even where private addresses are allowed', async () => {
    expect(await verifier.probePort({ host: '169.254.169.254', port: 22 }, options)).toMatchObject({ kind: 'address_refused' });
  });
});
