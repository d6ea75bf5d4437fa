import { once } from 'node:events';
import net from 'node:net';
import { nodeOf } from './world.ts';
import type { Task, World } from './world.ts';

const LONGEST_LINE = 64 * 1_024;
const REQUEST_PATIENCE_MS = 10_000;
const DIAL_PATIENCE_MS = 15_000;
const HIGHEST_ID = 2n ** 63n - 1n;

export interface SshProxy {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * The Host's SSH proxy: `REQUEST_TUNNEL <id>`, one line back, then bytes both ways. The end of one side never reaches the other: a VPS
 * that dies leaves its client waiting, a client that leaves its VPS with an open socket. Both close when both have ended.
 */
export async function openSshProxy(world: World, port: number): Promise<SshProxy> {
  const sockets = new Set<net.Socket>();
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    keep(client);
    readRequest(world, client, (line, early) => {
      void openTunnel(world, { client, line, early, keep });
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    // holds because the server listens on TCP
    port: (server.address() as net.AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function refuse(world: World, client: net.Socket, text: string): void {
  client.end(`${world.facts.proxyError}${text}\n`, () => client.destroySoon());
}

function readRequest(world: World, client: net.Socket, onLine: (line: string, early: Buffer) => void): void {
  let got = Buffer.alloc(0);
  const stop = () => {
    cancel();
    client.off('data', onData).off('end', onEnd).pause();
  };
  const unreadable = () => {
    stop();
    refuse(world, client, world.facts.isSeed ? 'Error processing request.' : 'Internal server error.');
  };
  const onData = (bytes: Buffer) => {
    got = Buffer.concat([got, bytes]);
    const end = got.indexOf(10);
    if (end < 0) return got.length > LONGEST_LINE ? unreadable() : undefined;
    stop();
    onLine(got.subarray(0, end).toString('utf8').trim(), got.subarray(end + 1));
  };
  const onEnd = () => unreadable();
  const cancel = world.agenda.at(world.now() + REQUEST_PATIENCE_MS, () => {
    stop();
    refuse(world, client, 'Timeout waiting for request.');
  });
  client.on('data', onData).on('end', onEnd).on('close', cancel);
}

interface Tunnel {
  readonly client: net.Socket;
  readonly line: string;
  /** What the client has sent behind its request. */
  readonly early: Buffer;
  readonly keep: (socket: net.Socket) => void;
}

async function openTunnel(world: World, { client, line, early, keep }: Tunnel): Promise<void> {
  world.agenda.settle();
  const found = targetOf(world, line);
  if (typeof found === 'string') return refuse(world, client, found);
  const { task, host } = found;
  const node = nodeOf(world, task);
  if (node?.runner?.isReachable === false) {
    const giveUp = () => refuse(world, client, `Timeout connecting to Runner for task ${task.id}.`);
    return void world.agenda.at(world.now() + DIAL_PATIENCE_MS, giveUp);
  }
  const vps = net.connect({ host, port: task.sshPort ?? 0, noDelay: true, allowHalfOpen: true });
  keep(vps);
  const failure = await once(vps, 'connect').then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
  // Docker accepts before sshd listens, and hangs up then; here the port hangs up before Node has told that it was accepted
  if (failure !== undefined && failure !== 'ECONNRESET') {
    if (failure === 'ECONNREFUSED')
      return refuse(world, client, `Connection refused by VPS task ${task.id} on node ${node?.hostname}.`);
    return refuse(
      world,
      client,
      world.facts.isSeed ? `Failed to connect to Runner for task ${task.id}.` : 'Internal server error.',
    );
  }
  client.write('SUCCESS\n');
  if (early.length > 0) vps.write(early);
  splice(world, client, vps);
}

/** The text of the refusal, or where to dial. */
function targetOf(world: World, line: string): string | { readonly task: Task; readonly host: string } {
  const digits = /^REQUEST_TUNNEL\s(.*)$/s.exec(line)?.[1]?.trim();
  if (digits === undefined) return 'Invalid request format.';
  if (!/^\d+$/.test(digits)) return 'Invalid task ID format.';
  const id = BigInt(digits);
  if (id > HIGHEST_ID) return world.facts.isSeed ? 'Internal server error during task lookup.' : 'Internal server error.';
  const task = world.tasks.get(String(id));
  if (task === undefined) return `Task ${id} not found.`;
  if (task.type !== 'vps') return `Task ${id} is not a VPS task.`;
  if (!['running', 'paused'].includes(task.status)) return `VPS task ${id} is not active (status: ${task.status}).`;
  const node = nodeOf(world, task);
  if (node === undefined) return `VPS task ${id} has no assigned node.`;
  if (!task.sshPort) return `VPS task ${id} has no SSH port assigned.`;
  if (node.status !== 'online') return `Assigned node for VPS task ${id} is not online.`;
  const host = /:\/\/([^:/]+):/.exec(node.url)?.[1];
  return host === undefined ? `Error parsing runner URL for node ${node.hostname}.` : { task, host };
}

function splice(world: World, client: net.Socket, vps: net.Socket): void {
  const tunnel = { isClientGone: false };
  world.tunnels.add(tunnel);
  let open = 2;
  const ended = () => {
    open -= 1;
    if (open > 0) return;
    client.destroy();
    vps.destroy();
    world.tunnels.delete(tunnel);
  };
  copy(client, vps, () => {
    tunnel.isClientGone = true;
    ended();
  });
  copy(vps, client, ended);
}

/** Ends without a word to the other side. */
function copy(from: net.Socket, to: net.Socket, onEnd: () => void): void {
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    onEnd();
  };
  from.on('data', (bytes: Buffer) => {
    if (!to.destroyed) to.write(bytes);
  });
  from.on('end', end).on('close', end);
  from.resume();
}
