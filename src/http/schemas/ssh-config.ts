import { z } from 'zod';
import type { Session } from '../../db/tables.ts';
import { fingerprintOf } from '../../ssh/public-key.ts';
import { isPlainLogin } from './ssh-command.ts';

export const SshConfigBody = z
  .object({
    session_id: z.string(),
    host: z.string().describe('What to call it: `ssh <host>` once the block is in place.'),
    host_name: z.string(),
    port: z.int(),
    user: z.string(),
    host_key_fingerprint: z.string().describe('Of the key that the machine proved to have.'),
    key_fingerprint: z.string().describe("Of the session's public key: its private key is the one to log in with."),
    config: z.string().describe('A block for ~/.ssh/config, ready to use.'),
    known_hosts: z.string().describe('The line for the file that the block names under UserKnownHostsFile.'),
    known_hosts_file: z.string().describe('That file.'),
  })
  .meta({ id: 'SshConfig', description: 'How to reach a session with the stock ssh client, its host key pinned.' });

export type SshConfigBody = z.infer<typeof SshConfigBody>;

const HOST_KEY = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]+={0,2}$/;

/** A file name that ssh_config can hold between quotes: nothing in it can end the quotes, or the line. */
export const configPath = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[^"\\\p{Cc}]+$/u, 'must be a path without quotation marks, backslashes and control characters; / works everywhere');

interface ConfigFiles {
  readonly identityFile: string | undefined;
  readonly knownHostsFile: string;
}

export type Login = Pick<Session, 'id' | 'provider' | 'sshHost' | 'sshPort' | 'sshUser' | 'sshHostKey' | 'sshPublicKey'>;

/** Undefined while a part of the address is missing, or where a part could mean something else to a client than what it says. */
export function sshConfigOf(session: Login, { identityFile, knownHostsFile }: ConfigFiles): SshConfigBody | undefined {
  const { id, sshHost, sshPort, sshUser, sshHostKey } = session;
  if (sshHost === null || sshPort === null || sshUser === null || sshHostKey === null) return undefined;
  if (!isPlainLogin({ user: sshUser, host: sshHost }) || !HOST_KEY.test(sshHostKey)) return undefined;
  const keyFingerprint = fingerprintOf(session.sshPublicKey);
  const lines = [
    `# session of Berth at ${session.provider}; its key is ${keyFingerprint}`,
    `Host ${id}`,
    `  HostName ${sshHost}`,
    `  Port ${sshPort}`,
    `  User ${sshUser}`,
    ...(identityFile === undefined
      ? ['  # IdentityFile <the file of the private key above, if it is none that ssh tries by itself>']
      : [`  IdentityFile ${quoted(identityFile)}`, '  IdentitiesOnly yes']),
    // by the session's own name: addresses and ports are used again by other machines, with other keys
    `  HostKeyAlias ${id}`,
    `  UserKnownHostsFile ${quoted(knownHostsFile)}`,
    '  StrictHostKeyChecking yes',
    '  ServerAliveInterval 30',
  ];
  return {
    session_id: id,
    host: id,
    host_name: sshHost,
    port: sshPort,
    user: sshUser,
    host_key_fingerprint: fingerprintOf(sshHostKey),
    key_fingerprint: keyFingerprint,
    config: `${lines.join('\n')}\n`,
    known_hosts: `${id} ${sshHostKey}\n`,
    known_hosts_file: knownHostsFile,
  };
}

/** Per cent begins a token of ssh_config; what begins with ~ is the home of who runs the client, in quotes too. */
function quoted(path: string): string {
  const text = path.replaceAll('%', '%%');
  return /^[\w./~@:+,=-]+$/.test(text) ? text : `"${text}"`;
}
