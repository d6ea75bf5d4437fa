import { runShell } from './shell.ts';
import { createVirtualDisk } from './virtual-disk.ts';

export interface CloudInit {
  readonly runcmd: readonly (string | readonly string[])[];
  readonly packages: readonly unknown[];
  readonly package_update: boolean;
  readonly package_upgrade: boolean;
  readonly write_files: readonly WriteFile[];
}

export interface WriteFile {
  readonly path: string;
  readonly content: string;
  readonly owner?: string | undefined;
  readonly permissions?: string | undefined;
}

export const NO_CLOUD_INIT: CloudInit = {
  runcmd: [],
  packages: [],
  package_update: false,
  package_upgrade: false,
  write_files: [],
};

const UPDATE_MS = 20_000;
const UPGRADE_MS = 150_000;
const PACKAGE_MS = 8_000;
const PUBLIC_KEY = /^(?:[\w",=-]+ )?(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/]+=*( .*)?$/;

/** What it adds to a boot. */
export function cloudInitMs({ packages, package_update, package_upgrade }: CloudInit): number {
  return (package_update ? UPDATE_MS : 0) + (package_upgrade ? UPGRADE_MS : 0) + packages.length * PACKAGE_MS;
}

/**
 * The keys that let in once all has run, in the order of its stages: files are written before there is a user, then the user gets the key of
 * the field, then the commands run. sshd reads a user's keys as that user.
 */
export function keysOfCloudInit(cloudInit: CloudInit, fieldKey: string | undefined): { user: string[]; root: string[] } {
  const disk = createVirtualDisk();
  for (const file of cloudInit.write_files) {
    if (file.path.startsWith('/home/user') || file.owner?.startsWith('user') === true) continue;
    disk.makeFolder(file.path.split('/').slice(0, -1).join('/'), true);
    disk.write(file.path, file.content, 'replace');
    const entry = disk.entry(file.path);
    if (entry !== undefined) entry.mode = Number.parseInt(file.permissions ?? '0644', 8);
  }
  if (fieldKey !== undefined) {
    disk.makeFolder('/home/user/.ssh', true);
    disk.write('/home/user/.ssh/authorized_keys', `${fieldKey}\n`, 'append');
    for (const path of disk.below('/home/user/.ssh')) {
      const entry = disk.entry(path);
      if (entry !== undefined) Object.assign(entry, { owner: 'user', mode: entry.content === undefined ? 0o700 : 0o600 });
    }
  }
  runShell(disk, cloudInit.runcmd);
  const keysIn = (user: string, path: string) =>
    (disk.readAs(user, path) ?? '').split('\n').filter((line) => PUBLIC_KEY.test(line));
  return { user: keysIn('user', '/home/user/.ssh/authorized_keys'), root: keysIn('root', '/root/.ssh/authorized_keys') };
}
