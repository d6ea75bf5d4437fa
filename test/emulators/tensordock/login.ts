import ssh2 from 'ssh2';
import type { SshPlace } from '../kit/instance-ssh.ts';

const READY_TIMEOUT_MS = 700;

/** What a login comes to: the command's output, or how it failed. */
export function login(
  { host, port }: SshPlace,
  { privateKey, user }: { readonly privateKey: string; readonly user: string },
  command: string,
): Promise<string> {
  return new Promise((resolve) => {
    const client = new ssh2.Client();
    let output = '';
    client.on('error', (error) => {
      client.end();
      resolve(error.level === 'client-authentication' ? 'refused' : error.level === 'client-timeout' ? 'hangs' : 'closed');
    });
    client.on('ready', () => {
      client.exec(command, (error, stream) => {
        if (error) return resolve(String(error));
        stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
        stream.on('close', () => {
          client.end();
          resolve(output);
        });
      });
    });
    client.connect({ host, port, username: user, privateKey, readyTimeout: READY_TIMEOUT_MS });
  });
}
