import net, { type AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { systemClock, type Clock } from '../../src/core/clock.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { TASK } from './fixtures/bodies.ts';
import { makeWorld } from './fixtures/scripted-host.ts';
import { askProxy, openTunnel } from './tunnel-dial.ts';

const BANNER = 'SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n';
const closers: (() => void)[] = [];
afterEach(() => closers.splice(0).forEach((close) => close()));

interface Caller {
  readonly socket: net.Socket;
  /** What came before the first newline. */
  readonly request: string;
}

/** A TCP server that does with each caller, once it has asked, what the test says. */
async function aProxy(serve: (caller: Caller, count: number) => void) {
  let count = 0;
  const requests: string[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    let received = '';
    socket.on('error', () => {});
    socket.on('data', function collect(chunk: Buffer) {
      received += chunk.toString();
      const end = received.indexOf('\n');
      if (end < 0) return;
      socket.off('data', collect);
      const rest = received.slice(end + 1);
      if (rest !== '') socket.unshift(Buffer.from(rest));
      requests.push(received.slice(0, end));
      serve({ socket, request: received.slice(0, end) }, (count += 1));
    });
    closers.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  return { requests, server, proxy: { host: '127.0.0.1', port } };
}

const dial = (proxy: { host: string; port: number }, more: Partial<Parameters<typeof openTunnel>[0]> = {}) =>
  openTunnel({ proxy, id: TASK, clock: systemClock, signal: new AbortController().signal, ...more });

/**
 * When the kernel will ask whether the other end is still there, seconds; undefined when it does not mean to. A connection has
 * one timer in that table: while an answer of the other end is awaited, it is that answer's.
 */
async function asksInS({ localPort, remotePort }: net.Socket): Promise<number | undefined> {
  const hexPort = (port = 0) => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/));
  const row = rows.find(([, local, remote]) => local?.endsWith(hexPort(localPort)) && remote?.endsWith(hexPort(remotePort)));
  const [timer, when] = row?.[5]?.split(':') ?? [];
  return timer === '02' && when !== undefined ? Number.parseInt(when, 16) / 100 : undefined;
}

describe('openTunnel', () => {
  it.runIf(process.platform === 'linux')(
    'REL-I5: notices within a minute that the machine of the proxy has vanished',
    async () => {
      const { proxy } = await aProxy(({ socket }) => void socket.write(`SUCCESS\n${BANNER}`));

      const stream = await dial(proxy);
      closers.push(() => stream.destroy());

      await vi.waitFor(async () => expect(await asksInS(stream)).toBeLessThanOrEqual(30), { timeout: 3_000 });
    },
  );

  it('asks for the task and hands over every byte that sshd said after SUCCESS', async () => {
    const { proxy, requests } = await aProxy(({ socket }) => {
      socket.write(`SUCCESS\n${BANNER}`);
      setTimeout(() => socket.end('more'), 30);
    });

    const stream = await dial(proxy);

    expect(await text(stream)).toBe(`${BANNER}more`);
    expect(requests).toEqual([`REQUEST_TUNNEL ${TASK}`]);
    stream.destroy();
  });

  it('reads an answer that comes byte by byte', async () => {
    const { proxy } = await aProxy(({ socket }) => {
      void (async () => {
        for (const byte of `SUCCESS\n${BANNER}`) {
          socket.write(byte);
          await delay(1);
        }
        socket.end();
      })();
    });

    expect(await text(await dial(proxy))).toBe(BANNER);
  });

  it('flows at once to whoever listens, as a relay or an SSH client does', async () => {
    const { proxy } = await aProxy(({ socket }) => void socket.write(`SUCCESS\n${BANNER}`));
    const stream = await dial(proxy);

    const first = await new Promise<Buffer>((resolve) => stream.on('data', resolve));

    expect(first.toString()).toBe(BANNER);
    stream.destroy();
  });

  it('keeps its half open when the other half has ended', async () => {
    const heard: string[] = [];
    let finish = () => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const { proxy } = await aProxy(({ socket }) => {
      socket.end(`SUCCESS\n${BANNER}`);
      socket.on('data', (chunk: Buffer) => heard.push(chunk.toString())).on('end', finish);
    });
    const stream = await dial(proxy);

    await new Promise((resolve) => stream.resume().on('end', resolve)); // text() would destroy it
    stream.write('still here');
    stream.end();
    await finished;

    expect(heard.join('')).toBe('still here');
  });

  it.each([
    [`b'ERROR 'VPS task ${TASK} has no SSH port assigned.`, `VPS task ${TASK} has no SSH port assigned.`],
    [`ERROR VPS task ${TASK} is not active (status: killed).`, `VPS task ${TASK} is not active (status: killed).`],
    [
      `ERROR Connection refused by VPS task ${TASK} on node node-1.\r`,
      `Connection refused by VPS task ${TASK} on node node-1.`,
    ],
  ])('HAKU-9.14: passes on the reason of %j, of either form', async (line, message) => {
    const { proxy } = await aProxy(({ socket }) => void socket.end(`${line}\n`));

    await expect(dial(proxy)).rejects.toMatchObject({ fault: 'refused', message });
  });

  it.each([
    ['something else', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['nothing', ''],
    ['half a line', 'SUCC'],
    ['far too much', `${'x'.repeat(5_000)}`],
  ])('says that %s is no answer of such a proxy', async (_, answer) => {
    const { proxy } = await aProxy(({ socket }) => void socket.end(answer));

    await expect(dial(proxy)).rejects.toMatchObject({ fault: 'no proxy' });
  });

  it('says that nobody listens', async () => {
    const { proxy, server } = await aProxy(() => {});
    await new Promise((resolve) => server.close(resolve));

    await expect(dial(proxy)).rejects.toMatchObject({ fault: 'unreachable' });
  });

  it('gives up on a proxy that does not answer after ten seconds, and on a tunnel that is silent after four', async () => {
    const clock = new FakeClock();
    const { proxy, requests } = await aProxy(({ socket }, count) => {
      if (count === 2) socket.write('SUCCESS\n');
    });
    const timeouts = vi.spyOn(clock, 'timeoutSignal');
    const faults: string[] = [];
    const note = async (call: Promise<unknown>) => call.catch((error: { fault: string }) => void faults.push(error.fault));

    const first = note(dial(proxy, { clock }));
    await until(() => requests.length === 1);
    await clock.advance(9_999);
    expect(faults).toEqual([]);
    await clock.advance(1);
    await first;
    const second = note(dial(proxy, { clock }));
    await until(() => hasSuccess(timeouts));
    await clock.advance(4_000);
    await second;

    expect(faults).toEqual(['no proxy', 'silent']);
  });

  it.each(['before it begins', 'while it waits'])('ends when it is cancelled %s', async (when) => {
    const abort = new AbortController();
    const { proxy, requests } = await aProxy(() => {});
    if (when === 'before it begins') abort.abort();

    const dialling = dial(proxy, { signal: abort.signal });
    if (when === 'while it waits') {
      await until(() => requests.length === 1);
      abort.abort();
    }

    await expect(dialling).rejects.toMatchObject({ fault: 'cancelled' });
  });

  it('leaves no connection behind when it fails', async () => {
    let ended = 0;
    const { proxy } = await aProxy(({ socket }) => {
      socket.on('end', () => (ended += 1)).resume();
      socket.write('nonsense\n');
    });

    await expect(dial(proxy)).rejects.toThrow();
    await until(() => ended === 1);

    expect(ended).toBe(1);
  });
});

describe('askProxy', () => {
  it('is content with a refusal of a task that cannot be', async () => {
    const { proxy, requests } = await aProxy(({ socket }) => void socket.end("b'ERROR 'Task 0 not found.\n"));

    await askProxy({ proxy, clock: systemClock, signal: uncancelled.signal });

    expect(requests).toEqual(['REQUEST_TUNNEL 0']);
  });

  it('is not content with another server', async () => {
    const { proxy } = await aProxy(({ socket }) => void socket.end('SSH-2.0-OpenSSH_9.2\r\n'));

    await expect(askProxy({ proxy, clock: systemClock, signal: uncancelled.signal })).rejects.toMatchObject({
      fault: 'no proxy',
    });
  });
});

describe('dialSsh', () => {
  it('HAKU-9.15: dials again when a tunnel is silent, since one that was opened too early never comes alive', async () => {
    const { proxy, requests } = await aProxy(({ socket }, count) => {
      socket.write(count < 3 ? 'SUCCESS\n' : `SUCCESS\n${BANNER}`);
    });
    const { provider, host, clock } = await makeWorld({}, { HAKURIVER_SSH_PROXY: `127.0.0.1:${proxy.port}` });
    closers.push(host.close);
    const timeouts = vi.spyOn(clock, 'timeoutSignal');

    const dialling = provider.dialSsh?.(instanceId(TASK), uncancelled);
    for (const count of [1, 2]) {
      await until(() => requests.length === count && hasSuccess(timeouts));
      await clock.advance(5_000);
    }
    const stream = await dialling;

    expect(requests).toHaveLength(3);
    expect((await new Promise<Buffer>((resolve) => stream?.on('data', resolve))).toString()).toBe(BANNER);
    stream?.destroy();
  });

  it('HAKU-9.14: says at once which hop refused, in our words and theirs', async () => {
    const { proxy } = await aProxy(({ socket }) => void socket.end("b'ERROR 'Timeout connecting to Runner for task 7.\n"));
    const { provider, host } = await makeWorld({}, { HAKURIVER_SSH_PROXY: `127.0.0.1:${proxy.port}` });
    closers.push(host.close);

    await expect(provider.dialSsh?.(instanceId(TASK), uncancelled)).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'unavailable',
      message: 'dial SSH at hakuriver: the Host refused a tunnel: Timeout connecting to Runner for task 7.',
    });
  });

  it('ends with a ProviderError when its caller gives up on a sshd that never comes', async () => {
    const abort = new AbortController();
    const { proxy, requests } = await aProxy(({ socket }) => void socket.write('SUCCESS\n'));
    const { provider, host } = await makeWorld({}, { HAKURIVER_SSH_PROXY: `127.0.0.1:${proxy.port}` });
    closers.push(host.close);

    const dialling = provider.dialSsh?.(instanceId(TASK), { signal: abort.signal });
    await until(() => requests.length === 1);
    abort.abort();

    await expect(dialling).rejects.toMatchObject({ name: 'ProviderError', kind: 'unavailable' });
  });
});

/** The last wait that a dial has begun is the short one, for what sshd says. */
function hasSuccess(timeouts: MockInstance<Clock['timeoutSignal']>): boolean {
  return timeouts.mock.lastCall?.[0] === 4_000;
}

async function until(holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 5) {
    if (waitedMs > 3_000) throw new Error('it did not come to pass');
    await delay(5);
  }
}
