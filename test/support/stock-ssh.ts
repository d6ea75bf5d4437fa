import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SshLogin {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** What the server must prove to be, `type base64`; anything else is refused by the client. */
  readonly hostKey: string;
  /** OpenSSH's text form, as a broker hands it out. */
  readonly privateKey: string;
}

export interface SshResult {
  /** The command's own exit code, or 255 where the client got no session. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One command through the stock `ssh` client, which knows this key and this host and nothing of the person who runs the tests. */
export async function stockSsh(
  { host, port, user, hostKey, privateKey }: SshLogin,
  command: string,
  { terminal = false, stdin }: { readonly terminal?: boolean; readonly stdin?: string } = {},
): Promise<SshResult> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-ssh-'));
  try {
    const identity = join(folder, 'key');
    const knownHosts = join(folder, 'known_hosts');
    await writeFile(identity, privateKey, { mode: 0o600 });
    await writeFile(knownHosts, `session ${hostKey}\n`);
    const settings = {
      BatchMode: 'yes',
      IdentitiesOnly: 'yes',
      IdentityAgent: 'none',
      HostKeyAlias: 'session',
      StrictHostKeyChecking: 'yes',
      UserKnownHostsFile: knownHosts,
      GlobalKnownHostsFile: '/dev/null',
      ConnectTimeout: '20',
      LogLevel: 'ERROR',
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    const target = ['-F', 'none', '-i', identity, '-p', String(port), ...(terminal ? ['-tt'] : []), `${user}@${host}`];
    return await run('ssh', [...flags, ...target, command], stdin);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(program: string, args: readonly string[], stdin: string | undefined): Promise<SshResult> {
  return new Promise((done, fail) => {
    const child = execFile(program, args, { timeout: 60_000, encoding: 'utf8' }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code !== 'number') return fail(error ?? new Error(`${program} ended without an exit code`));
      done({ code, stdout: stdout.replaceAll('\r', '').trim(), stderr: stderr.replaceAll('\r', '').trim() });
    });
    if (stdin !== undefined) child.stdin?.end(stdin);
  });
}
