// Connections through the tunnel beside the same connections made directly: npx tsx bench/tunnel.ts [--connections 500] [--seconds 20]
// Each is paced at 40 KB/s, its pieces come back from an echo, and the time of each round trip is taken. All of it, the echo and the
// clients included, is in one process: what counts is the difference, how many were dropped, and that nothing is left open at the end.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/core/clock.ts';
import { providerId } from '../src/provider/ids.ts';
import { TunnelServer } from '../src/tunnel/tunnel-server.ts';
import { dialTo, freePort, sessionIdOf } from '../src/tunnel/fixtures/tunnels.ts';
import { silentLog } from '../test/support/stores.ts';
import { decimals, quantile, whole } from './support/figures.ts';
import { describeMachine } from './support/machine.ts';
import { formatTable, type Row } from './support/table.ts';

const { values: settings } = parseArgs({
  options: { connections: { type: 'string', default: '500' }, seconds: { type: 'string', default: '20' } },
});
const connections = Number(settings.connections);
const seconds = Number(settings.seconds);
const PIECE_BYTES = 8_000;
const PIECE_EVERY_MS = 200;
const OF_A_SESSION = 50;
const RAMP_MS = 5_000;
const SSH_NAME = 'SSH-2.0-bench\r\n';

const openFiles = () => readdirSync('/proc/self/fd').length;

/** Runs the load against these ports, in turn, and gives its row. */
async function load(name: string, ports: readonly number[]): Promise<Row> {
  const filesBefore = openFiles();
  const startedMs = performance.now();
  const roundTripsMs: number[] = [];
  let dropped = 0;
  let peakMib = 0;
  const watch = setInterval(() => (peakMib = Math.max(peakMib, process.memoryUsage().rss / 1_048_576)), 500);
  await Promise.all(
    Array.from({ length: connections }, async (_, index) => {
      await delay((index / connections) * RAMP_MS);
      const isWhole = await talk(ports[index % ports.length] ?? 0, roundTripsMs);
      if (!isWhole) dropped += 1;
    }),
  );
  const tookSeconds = (performance.now() - startedMs) / 1_000;
  clearInterval(watch);
  await delay(500);
  const mibPerSecond = (roundTripsMs.length * PIECE_BYTES) / 1_048_576 / tookSeconds;
  return [
    name,
    whole(connections),
    decimals(mibPerSecond, 1),
    decimals(quantile(roundTripsMs, 0.5), 1),
    decimals(quantile(roundTripsMs, 0.99), 1),
    whole(dropped),
    whole(openFiles() - filesBefore),
    whole(peakMib),
  ];
}

/** One client at 40 KB/s; false when it was cut. */
async function talk(port: number, roundTripsMs: number[]): Promise<boolean> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
  let isCut = false;
  let awaited = 2 * SSH_NAME.length;
  socket.write(SSH_NAME);
  let heard: () => void = () => {};
  socket.on('error', () => (isCut = true)).on('close', () => ((isCut = true), heard()));
  socket.on('data', (piece: Buffer) => {
    awaited -= piece.length;
    if (awaited <= 0) heard();
  });
  const untilHeard = () => new Promise<void>((resolve) => (awaited <= 0 || isCut ? resolve() : (heard = resolve)));
  await untilHeard();
  const piece = Buffer.alloc(PIECE_BYTES, 'x');
  for (let round = 0; round < (seconds * 1_000) / PIECE_EVERY_MS && !isCut; round += 1) {
    const sentMs = performance.now();
    awaited += piece.length;
    socket.write(piece);
    await untilHeard();
    roundTripsMs.push(performance.now() - sentMs);
    await delay(Math.max(0, PIECE_EVERY_MS - (performance.now() - sentMs)));
  }
  const wasCut = isCut;
  socket.destroy();
  return !wasCut;
}

const echo = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {}).write(SSH_NAME);
  socket.pipe(socket);
});
echo.listen(0, '127.0.0.1');
await once(echo, 'listening');
// holds because it listens on TCP
const echoPort = (echo.address() as net.AddressInfo).port;
const server = new TunnelServer({
  clock: systemClock,
  log: silentLog,
  metrics: { tunnelBytes: () => {}, tunnelRefused: () => {}, tunnelEnded: () => {} },
  settings: { host: '127.0.0.1', maxConnections: connections, idleMs: 0, longestMs: 0 },
});
const ports: number[] = [];
for (let count = 1; count <= Math.ceil(connections / OF_A_SESSION); count += 1) {
  const route = {
    sessionId: sessionIdOf(count),
    ordinal: 1,
    provider: providerId('bench'),
    port: await freePort(),
    dial: dialTo(echoPort),
  };
  const opened = await server.open(route);
  if (opened.kind !== 'open') throw new Error(`port ${route.port} is ${opened.kind}`);
  server.admit(route.sessionId);
  ports.push(route.port);
}
const rows = [await load('direct', [echoPort]), await load('through the tunnel', ports)];
await server.stop();
echo.close();
console.log(`${describeMachine()}\n`);
console.log(
  formatTable(['', 'connections', 'MiB/s', 'round trip ms p50', 'p99', 'dropped', 'files left', 'RSS MiB peak'], rows),
);
