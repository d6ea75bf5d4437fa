import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Config } from './config.ts';
import { defaultSecretKeyPath } from './data-folder.ts';

const SECRET_KEY_BYTES = 32;

export type LoadedSecretKey =
  | { readonly ok: true; readonly key: Secret<Uint8Array>; readonly path: string; readonly isNew: boolean }
  | { readonly ok: false; readonly path: string; /** A plain sentence with the fix. */ readonly fault: string };

/**
 * The key that wraps all other keys. The file beside the database is made at the first start, whole or not at all, so that two
 * starts at once agree on one key. A file that SECRET_KEY_FILE names is never made: if it is missing, something was not mounted, and
 * a fresh key would make everything stored unreadable. The same holds for a database that already has secrets: `mayCreate` is false then.
 */
export async function loadSecretKey(
  { database }: Pick<Config, 'database'>,
  { mayCreate = true }: { readonly mayCreate?: boolean } = {},
): Promise<LoadedSecretKey> {
  const named = database.secretKeyFile;
  const path = named ?? defaultSecretKeyPath({ database });
  try {
    const isNew = named === undefined && mayCreate && (await createUnlessThere(path));
    const fault = permissionFault((await stat(path)).mode, { path, isNamed: named !== undefined });
    if (fault !== undefined) return { ok: false, path, fault };
    const key = decodeKey(await readFile(path));
    return key === undefined
      ? {
          ok: false,
          path,
          fault: `${path} must hold a key of ${SECRET_KEY_BYTES} bytes, raw or as base64 or hex. Restore it from a backup; a new one is made with: openssl rand -base64 32`,
        }
      : { ok: true, key: new Secret(key), path, isNew };
  } catch (error) {
    const fix =
      named !== undefined
        ? 'SECRET_KEY_FILE must name a file that exists and can be read'
        : mayCreate
          ? 'make its folder writable'
          : 'put the file back from the backup of this database: without it what is stored cannot be opened';
    return { ok: false, path, fault: `the secret key ${path} cannot be loaded: ${fix} (${describeError(error)})` };
  }
}

/** True when this call made it. Written aside and linked into place: the name never stands for half a key, and never replaces one. */
async function createUnlessThere(path: string): Promise<boolean> {
  if (await exists(path)) return false;
  await mkdir(dirname(path), { recursive: true });
  const aside = `${path}.${randomBytes(6).toString('hex')}.new`;
  const file = await open(aside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await file.chmod(0o600); // whatever the umask
    await file.writeFile(`${randomBytes(SECRET_KEY_BYTES).toString('base64')}\n`);
    await file.sync();
    await link(aside, path);
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false; // another start was quicker: its key it is
    throw error;
  } finally {
    await file.close();
    await unlink(aside);
  }
  await syncFolder(dirname(path));
  return true;
}

/** Without this a crash of the machine may forget the new name, and with it the key. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file that an orchestrator mounts is often readable by the service's group; anything wider is not a secret. */
function permissionFault(mode: number, { path, isNamed }: { path: string; isNamed: boolean }): string | undefined {
  const forbidden = isNamed ? 0o037 : 0o077;
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) return `${path} must be a file`;
  if ((mode & forbidden) === 0) return undefined;
  const found = (mode & 0o777).toString(8).padStart(4, '0');
  return `${path} has mode ${found}, so that others can get at the secret key. Mend it with: chmod 600 ${path}`;
}

function decodeKey(content: Buffer): Uint8Array | undefined {
  if (content.length === SECRET_KEY_BYTES) return new Uint8Array(content);
  const text = content.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  if (/^[A-Za-z0-9+/]{43}=$/.test(text)) return new Uint8Array(Buffer.from(text, 'base64'));
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
