import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import ssh2 from 'ssh2';
import type { AuthContext, Connection, ServerChannel, Session } from 'ssh2';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { parseAuthorizedKeys } from './authorized-keys.ts';
import type { AuthorizedKey } from './authorized-keys.ts';
import type { CommandContext } from './commands.ts';
import { runCommandLine, runForcedCommand } from './run-command-line.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { createTerminal } from './terminal.ts';

export interface SshServer {
  readonly port: number;
  /** Hangs up on everybody and stops listening. */
  close(): Promise<void>;
}

interface SshServerDeps {
  readonly machine: SimulatedMachine;
  /** In OpenSSH's format. */
  readonly hostKey: string;
  readonly port: number;
  readonly log: Log;
}

export const SSH_HOST = '127.0.0.1';
export const LOGIN_USER = 'root';

const LOGIN_GRACE_MS = 120_000;
const CTRL_C = 3;
const MOST_AUTHENTICATION_TRIES = 20;
const WELCOME = 'Simulated by Berth: type help to see what this machine knows.\r\n';
const BANNER = 'This machine is simulated by Berth: it has no GPU and runs nothing.\r\n';

/** Listens on one loopback port and on no other; rejects with the system's error (`EADDRINUSE`) when it cannot. */
export async function openSshServer({ machine, hostKey, port, log }: SshServerDeps): Promise<SshServer> {
  const sockets = new Set<Socket>();
  const loggedIn = new Set<Connection>();
  const ssh = new ssh2.Server({ hostKeys: [hostKey], banner: BANNER, ident: 'BerthSimulated' }, (connection) =>
    serve({ connection, machine, loggedIn, log }),
  );
  // Sockets are ours, so that closing does not wait for a peer that never hangs up.
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    // For who never logs in: afterwards the keep-alives see to it that the socket is not idle.
    socket.setTimeout(LOGIN_GRACE_MS, () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    ssh.injectSocket(socket);
  });
  await listen(server, port);
  server.on('error', (error) => log.warn({ port, error: describeError(error) }, 'a simulated SSH server has trouble'));
  return {
    port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of loggedIn) connection.end();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: SSH_HOST }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

interface Visit {
  readonly connection: Connection;
  readonly machine: SimulatedMachine;
  readonly loggedIn: Set<Connection>;
  readonly log: Log;
}

function serve(visit: Visit): void {
  const { connection, machine, loggedIn, log } = visit;
  let key: AuthorizedKey | undefined;
  let tries = 0;
  connection
    .on('authentication', (attempt) => {
      tries += 1;
      key = authorise(attempt, machine);
      if (key !== undefined) attempt.accept();
      else if (tries > MOST_AUTHENTICATION_TRIES) connection.end();
      else attempt.reject(['publickey']);
    })
    .on('ready', () => {
      loggedIn.add(connection);
      connection.on('session', (accept) => startSession({ ...visit, session: accept(), key }));
    })
    .on('error', (error) => log.debug({ error: describeError(error) }, 'a client of a simulated SSH server hung up'))
    .on('close', () => loggedIn.delete(connection));
}

/** The client first asks whether a key would do (no signature), then proves that it has it. */
function authorise(attempt: AuthContext, machine: SimulatedMachine): AuthorizedKey | undefined {
  if (attempt.method !== 'publickey' || attempt.username !== LOGIN_USER) return undefined;
  const { key, signature, blob, hashAlgo } = attempt;
  const known = parseAuthorizedKeys(machine.record().authorizedKeys).find((candidate) => candidate.blob.equals(key.data));
  if (known === undefined || signature === undefined || blob === undefined) return known;
  const parsed = ssh2.utils.parseKey(`${known.type} ${known.blob.toString('base64')}`);
  if (parsed instanceof Error || Array.isArray(parsed)) return undefined;
  return parsed.verify(blob, signature, hashAlgo) === true ? known : undefined;
}

function startSession({
  machine,
  loggedIn,
  log,
  session,
  key,
}: Omit<Visit, 'connection'> & { session: Session; key: AuthorizedKey | undefined }) {
  let hasTerminal = false;

  const contextFor = (stream: ServerChannel, signal: AbortSignal): CommandContext => ({
    machine,
    otherConnections: () => loggedIn.size - 1,
    print: (text) => stream.writable && stream.write(hasTerminal ? text.replace(/\r?\n/g, '\r\n') : text),
    complain: (text) => {
      if (!stream.writable) return;
      if (hasTerminal) stream.write(text.replace(/\r?\n/g, '\r\n'));
      else stream.stderr.write(text);
    },
    signal,
  });
  const finish = (stream: ServerChannel, code: number) => {
    if (!stream.writable) return;
    stream.exit(code);
    stream.end();
  };
  const fail = (error: unknown) => log.error({ error: describeError(error) }, 'a command on a simulated machine failed');

  /** Runs one command and ends the channel with its code. */
  const answer = (stream: ServerChannel, run: (context: CommandContext) => number | Promise<number>) => {
    const closed = new AbortController();
    stream.on('close', () => closed.abort(new Error('the channel is closed')));
    stream.on('error', () => closed.abort(new Error('the channel is broken')));
    // Read and forgotten, so that input does not block the end of the channel; but Ctrl-C.
    stream.on('data', (bytes: Buffer) => hasTerminal && bytes.includes(CTRL_C) && closed.abort(new Error('interrupted')));
    Promise.resolve(run(contextFor(stream, closed.signal))).then(
      (code) => finish(stream, code),
      (error: unknown) => {
        fail(error);
        finish(stream, 1);
      },
    );
  };

  session.on('pty', (accept, reject) => {
    if (key?.isRestricted !== false) return reject?.();
    hasTerminal = true;
    accept?.();
  });
  session.on('window-change', (accept) => accept?.());
  session.on('env', (accept) => accept?.());
  session.on('signal', (accept) => accept?.());

  session.on('exec', (accept, _reject, { command }) => {
    const forced = key?.forcedCommand;
    answer(accept(), async (context) =>
      forced === undefined ? (await runCommandLine(command, context)).code : runForcedCommand(forced, context),
    );
  });

  session.on('shell', (accept) => {
    const stream = accept();
    const forced = key?.forcedCommand;
    if (forced !== undefined) return answer(stream, (context) => runForcedCommand(forced, context));
    if (hasTerminal) stream.write(WELCOME);
    const terminal = createTerminal({
      hasTerminal,
      prompt: `root@simulated:~# `,
      write: (text) => stream.writable && stream.write(text),
      run: (line, signal, lastCode) => runCommandLine(line, contextFor(stream, signal), lastCode),
      end: (code) => finish(stream, code),
      fail,
    });
    stream.on('data', (bytes: Buffer) => terminal.receive(bytes));
    stream.on('end', () => terminal.finish());
    stream.on('error', () => terminal.abort());
    stream.on('close', () => terminal.abort());
  });
}
