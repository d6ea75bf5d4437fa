import { once } from 'node:events';
import net from 'node:net';
import ssh2 from 'ssh2';
import type { AuthContext, Connection, ServerChannel } from 'ssh2';
import { generateSshKeyPair, type SshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { formatHandOffAnswer, formatSample, parseHandOffCommand, restrictedLine } from '../../src/provider/key-hand-off.ts';

/** What a command does on the server: an answer, or a way to misbehave. */
export type Answer = { readonly code: number; readonly output: string } | 'hang' | 'endless' | 'cut';

export interface TestSshServer {
  readonly port: number;
  readonly hostKey: SshKeyPair;
  /** As the file on a machine: one line a key, options allowed (`restrict,command=…` means the sample). */
  readonly authorizedKeys: string[];
  /** Every command that was run. */
  readonly commands: string[];
  /** Connections open now. */
  readonly connections: ReadonlySet<Connection>;
}

export interface TestSshServerOptions {
  readonly hostKey?: SshKeyPair;
  readonly authorizedKeys?: readonly string[];
  /** As a container without the capability that terminals need. */
  readonly refusesTerminals?: boolean;
  /** Undefined leaves the command to the server's own: echo, the hand-off, else 127. */
  readonly answer?: (command: string) => Answer | undefined;
}

/** An SSH server on a free loopback port for the length of `use`: public-key login, exec, and the one rewrite of its keys. */
export async function withSshServer<T>(options: TestSshServerOptions, use: (server: TestSshServer) => Promise<T>): Promise<T> {
  const hostKey = options.hostKey ?? generateSshKeyPair();
  const authorizedKeys = [...(options.authorizedKeys ?? [])];
  const commands: string[] = [];
  const connections = new Set<Connection>();
  const server = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (connection) => {
    connections.add(connection);
    withoutNagle(connection);
    let line = '';
    connection.on('authentication', (attempt) => {
      const found = lineOf(attempt, authorizedKeys);
      if (found === undefined) return attempt.reject(['publickey']);
      line = found;
      attempt.accept();
    });
    connection.on('error', () => {}); // a client that hangs up is none of ours
    connection.on('close', () => connections.delete(connection));
    connection.on('session', (accept) => {
      const session = accept();
      session.on('pty', (acceptPty, rejectPty) => (options.refusesTerminals === true ? rejectPty() : acceptPty()));
      session.on('exec', (acceptExec, _reject, { command }) => {
        commands.push(command);
        const own = () =>
          line.startsWith('restrict,') ? sample() : (options.answer?.(command) ?? builtIn(command, authorizedKeys));
        reply(acceptExec(), own(), connection);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // holds because the server listens on TCP
  const { port } = server.address() as net.AddressInfo;
  try {
    return await use({ port, hostKey, authorizedKeys, commands, connections });
  } finally {
    for (const connection of connections) connection.end();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** A TCP server on loopback that treats each connection as `greet` says; all sockets are destroyed at the end. */
export async function withTcpServer<T>(greet: (socket: net.Socket) => void, use: (port: number) => Promise<T>): Promise<T> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    greet(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    // holds because the server listens on TCP
    return await use((server.address() as net.AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** Nagle's algorithm costs 44 ms at every turn; the types do not know the method. */
function withoutNagle(connection: object): void {
  if ('setNoDelay' in connection && typeof connection.setNoDelay === 'function') connection.setNoDelay(true);
}

function lineOf(attempt: AuthContext, lines: readonly string[]): string | undefined {
  if (attempt.method !== 'publickey') return undefined;
  const encoded = attempt.key.data.toString('base64');
  const line = lines.find((each) => each.includes(encoded));
  if (line === undefined || attempt.signature === undefined) return line;
  const known = ssh2.utils.parseKey(`${attempt.key.algo} ${encoded}`);
  if (known instanceof Error || attempt.blob === undefined) return undefined;
  return known.verify(attempt.blob, attempt.signature, attempt.hashAlgo) === true ? line : undefined;
}

function sample(): Answer {
  return { code: 0, output: `${formatSample({ cpuPercent: 3, sshConnections: 0 })}\n` };
}

function builtIn(command: string, authorizedKeys: string[]): Answer {
  if (command.startsWith('echo ')) return { code: 0, output: `${command.slice(5)}\n` };
  const handOff = parseHandOffCommand(command);
  if (handOff === undefined) return { code: 127, output: '' };
  const { consumerKey, probeKey, probeAfter } = handOff;
  const kept = authorizedKeys.filter((line) => !line.includes(probeKey));
  const isPresent = kept.some((line) => line === consumerKey || line.startsWith(`${consumerKey} `));
  const probeWasListed = kept.length < authorizedKeys.length;
  const added = isPresent ? [] : [consumerKey];
  const restricted = probeAfter.kind === 'restrict' ? [restrictedLine(probeKey, probeAfter.tag)] : [];
  authorizedKeys.splice(0, authorizedKeys.length, ...kept, ...added, ...restricted);
  const answer = formatHandOffAnswer({
    consumer: isPresent ? 'present' : 'added',
    probe: probeAfter.kind === 'restrict' ? 'restricted' : 'removed',
    probeWasListed,
  });
  return { code: 0, output: `${answer}\n` };
}

function reply(stream: ServerChannel, answer: Answer, connection: Connection): void {
  stream.on('error', () => {});
  if (answer === 'hang') return;
  if (answer === 'cut') {
    connection.end();
    return;
  }
  if (answer === 'endless') {
    const block = 'y\n'.repeat(16_384);
    const pour = () => {
      while (stream.writable && stream.write(block));
    };
    stream.on('drain', pour);
    pour();
    return;
  }
  stream.write(answer.output);
  stream.exit(answer.code);
  stream.end();
}
