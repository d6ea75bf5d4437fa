import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import type { Algorithms, ClientChannel, PublicKeyAuthMethod, ServerHostKeyAlgorithm } from 'ssh2';
import type { Clock } from '../core/clock.ts';
import { plainLine } from '../core/text.ts';
import { abortFailure, onAbort } from './abort.ts';
import { readBanner } from './banner.ts';
import { publicKeyText } from './public-key.ts';
import { fromSsh2Error, HostKeyRefused, SshError } from './ssh-failure.ts';

export interface SshLogin {
  readonly user: string;
  readonly privateKey: string;
  /** Asked once with the host's key as `type base64`; anything but true ends the connection with HostKeyRefused. */
  readonly acceptHostKey: (hostKey: string) => boolean;
  /** The type of the key that is expected, so that a host with several keys presents that one. */
  readonly hostKeyType?: string;
  /** For banner, key exchange and login together. */
  readonly handshakeMs: number;
  /** Ends the connection, whatever it is doing. */
  readonly signal: AbortSignal;
}

export interface CommandResult {
  /** Undefined when a signal ended the command. */
  readonly code: number | undefined;
  /** At most 64 KiB with `errorOutput`, lines kept, other control characters gone. */
  readonly output: string;
  readonly errorOutput: string;
}

export interface SshConnection {
  readonly hostKey: string;
  /** Whether both sides agreed on strict key exchange; undefined when ssh2 does not tell. */
  readonly strictKex: boolean | undefined;
  /** Throws SshError. `terminal` asks for one first, as `ssh -tt` does. After a failure only `close` makes sense. */
  exec(command: string, options: { timeoutMs: number; terminal?: boolean }): Promise<CommandResult>;
  /** Says goodbye and frees the stream, within half a second. */
  close(): Promise<void>;
}

const LARGEST_OUTPUT_BYTES = 64 * 1024;
/** Everything that a server may send in the life of one connection, padding and ignored packets included. */
const LARGEST_CONVERSATION_BYTES = 4 * 1024 * 1024;
const GOODBYE_MS = 500;

// No SHA-1, no CBC, no compression. Strict key exchange is always offered by ssh2 and used where the server knows it.
const HOST_KEY_TYPES: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];
const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group-exchange-sha256',
    'diffie-hellman-group14-sha256',
  ],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
    'chacha20-poly1305@openssh.com',
  ],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  compress: ['none'],
} satisfies Algorithms;

/**
 * Logs in over a stream. Takes the stream over: it is destroyed on failure, and by `close`.
 * Throws SshError or HostKeyRefused, or the signal's reason when the caller gave up.
 */
export async function openSsh(stream: Duplex, login: SshLogin, clock: Pick<Clock, 'timeoutSignal'>): Promise<SshConnection> {
  stream.on('error', () => {}); // heard where somebody waits; without a listener it would end the process
  const handshake = clock.timeoutSignal(login.handshakeMs, login.signal);
  try {
    if (ssh2.utils.parseKey(login.privateKey) instanceof Error)
      throw new SshError('key_parse_failed', 'login: the private key cannot be read');
    await readBanner(stream, handshake);
    return await shakeHands(stream, login, handshake, clock);
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

async function shakeHands(
  stream: Duplex,
  login: SshLogin,
  handshake: AbortSignal,
  clock: Pick<Clock, 'timeoutSignal'>,
): Promise<SshConnection> {
  const client = new ssh2.Client();
  let phase: 'handshake' | 'login' | 'session' = 'handshake';
  let hostKey: string | undefined;
  let refusedKey: string | undefined;
  let release = () => {};
  const publicKeyOnly: PublicKeyAuthMethod = { type: 'publickey', username: login.user, key: login.privateKey };
  try {
    await new Promise<void>((resolve, reject) => {
      client.on('handshake', () => (phase = 'login'));
      client.on('ready', resolve);
      client.on('error', (error) =>
        reject(refusedKey === undefined ? fromSsh2Error(error, phase) : new HostKeyRefused(refusedKey)),
      );
      const closed = () => reject(new SshError('connection_closed', `ssh ${phase}: the connection was closed`));
      client.on('end', closed);
      client.on('close', closed);
      release = onAbort(handshake, () => reject(abortFailure(handshake, `ssh ${phase}`)));
      if (handshake.aborted) return;
      client.connect({
        sock: stream,
        username: login.user,
        // without this list ssh2 asks with the method `none` first: a turn more, and one of sshd's few attempts
        authHandler: [publicKeyOnly],
        hostVerifier: (blob: Buffer) => {
          hostKey = publicKeyText(blob);
          const isAccepted = hostKey !== undefined && login.acceptHostKey(hostKey);
          if (!isAccepted) refusedKey = hostKey ?? '';
          return isAccepted;
        },
        readyTimeout: 0, // the signal has the budget
        algorithms: { ...ALGORITHMS, serverHostKey: hostKeyTypes(login.hostKeyType) },
      });
      if ('setNoDelay' in stream) client.setNoDelay(true);
      limitConversation(stream);
    });
  } finally {
    release();
  }
  phase = 'session';
  if (hostKey === undefined) throw new SshError('unknown', 'ssh handshake: the server showed no host key');
  return connectionOf({ client, stream, hostKey, signal: login.signal, clock });
}

/** The expected type first: a host with another key then presents that one, and is refused by its fingerprint. */
function hostKeyTypes(expected: string | undefined): ServerHostKeyAlgorithm[] {
  const isExpected = (type: string) => type === expected || (expected === 'ssh-rsa' && type.startsWith('rsa-'));
  return [...HOST_KEY_TYPES.filter(isExpected), ...HOST_KEY_TYPES.filter((type) => !isExpected(type))];
}

function limitConversation(stream: Duplex): void {
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > LARGEST_CONVERSATION_BYTES) stream.destroy();
  });
}

function connectionOf(parts: {
  client: ssh2.Client;
  stream: Duplex;
  hostKey: string;
  signal: AbortSignal;
  clock: Pick<Clock, 'timeoutSignal'>;
}): SshConnection {
  const { client, stream, hostKey, signal, clock } = parts;
  const release = onAbort(signal, () => stream.destroy());
  return {
    hostKey,
    strictKex: strictKexOf(client),
    exec: (command, { timeoutMs, terminal = false }) =>
      execute({ client, stream, command, terminal, signal: clock.timeoutSignal(timeoutMs, signal) }),
    close: async () => {
      release();
      sayGoodbye(client);
      if (!stream.closed && !stream.destroyed) {
        // a peer that does not hang up in time, or breaks off, is left all the same
        await once(stream, 'close', { signal: clock.timeoutSignal(GOODBYE_MS) }).catch(() => {});
      }
      stream.destroy();
    },
  };
}

/** ssh2 throws out of `end` once the other side has gone and the stream can still be written to. */
function sayGoodbye(client: ssh2.Client): void {
  try {
    client.end();
  } catch {
    // nobody is there to hear it
  }
}

/** Both ways: after the other side's end ssh2 is unusable, even where the stream could still be written to. */
function isOpen(stream: Duplex): boolean {
  return !stream.destroyed && stream.writable && !stream.readableEnded;
}

interface Execution {
  client: ssh2.Client;
  stream: Duplex;
  command: string;
  terminal: boolean;
  signal: AbortSignal;
}

async function execute({ client, stream, command, terminal, signal }: Execution): Promise<CommandResult> {
  let channel: ClientChannel | undefined;
  let release = () => {};
  try {
    return await new Promise<CommandResult>((resolve, reject) => {
      const closed = () => reject(new SshError('connection_closed', 'ssh command: the connection was closed'));
      stream.once('close', closed).once('end', closed);
      const stop = onAbort(signal, () => reject(abortFailure(signal, 'ssh command')));
      release = () => {
        stop();
        stream.off('close', closed).off('end', closed);
      };
      if (signal.aborted) return;
      if (!isOpen(stream)) return closed();
      client.exec(command, terminal ? { pty: true } : {}, (error, opened) => {
        if (error) {
          return !isOpen(stream)
            ? closed()
            : reject(
                new SshError(
                  'command_failed',
                  `ssh command: the server refused to run it (${plainLine(error.message, 100)})`,
                  error,
                ),
              );
        }
        channel = opened;
        collect(opened, { stream, resolve, reject });
        if (!terminal) opened.end();
      });
    });
  } catch (error) {
    channel?.destroy();
    throw error;
  } finally {
    release();
  }
}

function collect(
  channel: ClientChannel,
  { stream, resolve, reject }: { stream: Duplex; resolve: (result: CommandResult) => void; reject: (error: Error) => void },
): void {
  const output: Buffer[] = [];
  const errorOutput: Buffer[] = [];
  let size = 0;
  let code: number | null | undefined;
  const into = (chunks: Buffer[]) => (chunk: Buffer) => {
    size += chunk.length;
    if (size <= LARGEST_OUTPUT_BYTES) chunks.push(chunk);
    else reject(new SshError('command_failed', 'ssh command: the output has no end'));
  };
  const finish = () => {
    if (code === undefined) {
      return !isOpen(stream)
        ? reject(new SshError('connection_closed', 'ssh command: the connection was closed'))
        : reject(new SshError('command_failed', 'ssh command: it ended without a status'));
    }
    resolve({ code: code ?? undefined, output: plainText(output), errorOutput: plainText(errorOutput) });
  };
  channel.on('error', (error: Error) => reject(new SshError('command_failed', 'ssh command: the channel broke', error)));
  channel.on('data', into(output));
  channel.on('exit', (status: number | null) => (code = status));
  // A server may keep the channel open after both; it is done all the same. Some send the status after the end.
  channel.on('end', () => code !== undefined && finish());
  channel.on('close', finish);
  channel.stderr.on('error', () => {}); // ends with the channel
  channel.stderr.on('data', into(errorOutput));
}

function plainText(chunks: readonly Buffer[]): string {
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  return lines
    .map((line) => plainLine(line, 1000))
    .join('\n')
    .trim();
}

/** ssh2 has no public word for it. */
function strictKexOf(client: object): boolean | undefined {
  const protocol: unknown = '_protocol' in client ? client._protocol : undefined;
  if (typeof protocol !== 'object' || protocol === null || !('_strictMode' in protocol)) return undefined;
  return typeof protocol._strictMode === 'boolean' ? protocol._strictMode : undefined;
}
