import { once } from 'node:events';
import net from 'node:net';
import ssh2 from 'ssh2';
import type { AuthContext, Connection, ServerChannel } from 'ssh2';
import { generateSshKeyPair, type SshKeyPair } from '../../../src/core/openssh-key-pair.ts';
import {
  formatHandOffAnswer,
  formatSample,
  parseHandOffCommand,
  restrictedLine,
  SAMPLE_COMMAND,
} from '../../../src/provider/key-hand-off.ts';
import { nvidiaSmi } from './emulated-gpu.ts';
import type { EmulatedGpu } from './emulated-gpu.ts';

/** How a port of the instance meets a caller now: hangs up at once, says nothing, or speaks SSH. */
export type SshStage = 'closed' | 'hanging' | 'speaking';

/** What the SSH servers ask the instance, at every connection and login anew. */
export interface SshInstance {
  stage(route: SshRoute): SshStage;
  readonly user: string;
  /** The login user's file; a hand-off rewrites it in place. */
  readonly authorizedKeys: string[];
  /** Who else may log in, each with a file of their own. */
  readonly otherUsers?: ReadonlyMap<string, string[]>;
  gpu(): EmulatedGpu | undefined;
}

export type SshRoute = 'proxy' | 'direct';

export interface SshPlace {
  readonly host: string;
  readonly port: number;
}

const FREE_PORT: SshPlace = { host: '127.0.0.1', port: 0 };

export interface InstanceSsh {
  readonly ports: Readonly<Record<SshRoute, number>>;
  readonly places: Readonly<Record<SshRoute, SshPlace>>;
  readonly hostKey: SshKeyPair;
  /** Hangs up on everybody on this route, as a stop or a reboot does. */
  hangUp(): void;
  close(): Promise<void>;
}

/**
 * Two real listeners on loopback, one a route, with one host key. A port is the instance's from create to destroy, whatever answers on it.
 * A route takes the first of its wished places that can be had, else a free port. An instance that comes back elsewhere brings its host key.
 */
export async function openInstanceSsh(
  instance: SshInstance,
  wishes: Partial<Record<SshRoute, readonly SshPlace[]>> = {},
  hostKey: SshKeyPair = generateSshKeyPair(),
): Promise<InstanceSsh> {
  const sockets = new Set<net.Socket>();
  const connections = new Set<Connection>();
  const ssh = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (connection) => serve(connection, instance, connections));
  const listenAt = async (route: SshRoute, { host, port }: SshPlace) => {
    const server = net.createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      const stage = instance.stage(route);
      if (stage === 'closed') socket.resetAndDestroy();
      else if (stage === 'speaking') ssh.injectSocket(socket);
      else socket.resume();
    });
    server.listen(port, host);
    await once(server, 'listening');
    return server;
  };
  const listen = async (route: SshRoute) => {
    for (const place of wishes[route] ?? []) {
      const server = await listenAt(route, place).catch(() => undefined); // taken, or not ours to take
      if (server !== undefined) return server;
    }
    return listenAt(route, FREE_PORT);
  };
  const servers = { proxy: await listen('proxy'), direct: await listen('direct') };
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    ports: { proxy: placeOf(servers.proxy).port, direct: placeOf(servers.direct).port },
    places: { proxy: placeOf(servers.proxy), direct: placeOf(servers.direct) },
    hostKey,
    hangUp,
    async close() {
      hangUp();
      await Promise.all(Object.values(servers).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    },
  };
}

function placeOf(server: net.Server): SshPlace {
  // holds because the server listens on TCP
  const { address, port } = server.address() as net.AddressInfo;
  return { host: address, port };
}

function serve(connection: Connection, host: SshInstance, connections: Set<Connection>): void {
  connections.add(connection);
  let line = '';
  let instance = host;
  connection.on('authentication', (attempt) => {
    const user = attempt.username;
    const authorizedKeys = user === host.user ? host.authorizedKeys : (host.otherUsers?.get(user) ?? []);
    const found = lineOf(attempt, authorizedKeys);
    if (found === undefined) return attempt.reject(['publickey']);
    line = found;
    instance = { ...host, user, authorizedKeys };
    attempt.accept();
  });
  connection.on('error', () => {}); // a client that hangs up is none of ours
  connection.on('close', () => connections.delete(connection));
  connection.on('session', (accept) => {
    const session = accept();
    session.on('pty', (acceptPty) => acceptPty?.());
    session.on('env', (acceptEnv) => acceptEnv?.());
    const run = (stream: ServerChannel, command: string) => {
      const sshConnections = connections.size - 1;
      finish(
        stream,
        line.startsWith('restrict,') ? sample(instance, sshConnections) : runCommand(command, instance, sshConnections),
      );
    };
    session.on('exec', (acceptExec, _reject, { command }) => run(acceptExec(), command));
    session.on('shell', (acceptShell) => run(acceptShell(), 'true'));
  });
}

function lineOf(attempt: AuthContext, lines: readonly string[]): string | undefined {
  if (attempt.method !== 'publickey') return undefined;
  const encoded = attempt.key.data.toString('base64');
  const line = lines.find((each) => each.includes(encoded));
  if (line === undefined || attempt.signature === undefined || attempt.blob === undefined) return line;
  const known = ssh2.utils.parseKey(`${attempt.key.algo} ${encoded}`);
  if (known instanceof Error) return undefined;
  return known.verify(attempt.blob, attempt.signature, attempt.hashAlgo) === true ? line : undefined;
}

interface Printed {
  readonly code: number;
  readonly output: string;
}

function runCommand(order: string, instance: SshInstance, sshConnections: number): Printed {
  const command = order.replace(/^sudo (-n )?/, '');
  const handOff = parseHandOffCommand(command);
  if (handOff !== undefined) return rewriteKeys(handOff, instance.authorizedKeys);
  const gpu = instance.gpu();
  const [name = '', ...words] = command.trim().split(/\s+/);
  if (name === 'true' || name === ':') return { code: 0, output: '' };
  if (name === 'false') return { code: 1, output: '' };
  if (name === 'echo') return { code: 0, output: `${words.join(' ').replace(/^(['"])(.*)\1$/, '$2')}\n` };
  if (name === 'whoami') return { code: 0, output: `${instance.user}\n` };
  if (name === 'cat' && words[0]?.endsWith('.ssh/authorized_keys') === true)
    return { code: 0, output: instance.authorizedKeys.map((each) => `${each}\n`).join('') };
  if (name === 'cat') return { code: words.length === 0 ? 0 : 1, output: '' };
  if (name === 'nvidia-smi') return gpu === undefined ? { code: 127, output: '' } : nvidiaSmi(command, gpu);
  if (command === SAMPLE_COMMAND) return sample(instance, sshConnections);
  return { code: 127, output: '' };
}

function sample(instance: SshInstance, sshConnections: number): Printed {
  const gpu = instance.gpu();
  const gpuPercent = gpu === undefined ? {} : { gpuPercent: Math.round(gpu.utilisationPercent) };
  return { code: 0, output: `${formatSample({ ...gpuPercent, cpuPercent: 3, sshConnections })}\n` };
}

function rewriteKeys(handOff: NonNullable<ReturnType<typeof parseHandOffCommand>>, authorizedKeys: string[]): Printed {
  const { consumerKey, probeKey, probeAfter } = handOff;
  const kept = authorizedKeys.filter((line) => !line.includes(probeKey));
  const probeWasListed = kept.length < authorizedKeys.length;
  const isPresent = kept.some((line) => line === consumerKey || line.startsWith(`${consumerKey} `));
  const restricted = probeAfter.kind === 'restrict' ? [restrictedLine(probeKey, probeAfter.tag)] : [];
  authorizedKeys.splice(0, authorizedKeys.length, ...kept, ...(isPresent ? [] : [consumerKey]), ...restricted);
  const probe = probeAfter.kind === 'restrict' ? 'restricted' : 'removed';
  return { code: 0, output: `${formatHandOffAnswer({ consumer: isPresent ? 'present' : 'added', probe, probeWasListed })}\n` };
}

function finish(stream: ServerChannel, { code, output }: Printed): void {
  stream.on('error', () => {});
  stream.on('data', () => {}); // input is read and forgotten, so that the channel can end
  stream.write(output);
  stream.exit(code);
  stream.end();
}
