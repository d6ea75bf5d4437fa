import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, initialise, readableBinaries, roomyFolder, serverUser, type User } from '../postgres-server.ts';
import { until } from '../broker-process.ts';

/** A PostgreSQL of one test's own, which may be killed. */
export interface MortalPostgres {
  readonly url: string;
  readonly port: number;
  /** SIGKILL to the server and to each of its processes; resolves when the first is gone. */
  kill(): Promise<void>;
  /** Resolves once it takes connections again. */
  start(): Promise<void>;
  /** Ends it and deletes what it wrote. */
  remove(): Promise<void>;
}

const SETTINGS = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=60', 'shared_buffers=32MB'];

export async function makeMortalPostgres(): Promise<MortalPostgres> {
  const user = await serverUser();
  const [data, files] = [await newFolder(await roomyFolder(), user), await newFolder(tmpdir(), user)];
  const binaries = await readableBinaries(files, user);
  const password = randomBytes(12).toString('hex');
  await initialise({ binaries, data, files, password, user });
  const port = await freePort();
  const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  let server: ChildProcess | undefined;

  async function start(): Promise<void> {
    await until('a PostgreSQL that takes connections', async () => {
      // one that was killed is refused for as long as a process of the former one holds its memory
      if (!server || server.exitCode !== null || server.signalCode !== null)
        server = spawn(
          join(binaries, 'postgres'),
          ['-D', data, '-p', String(port), ...SETTINGS.flatMap((each) => ['-c', each])],
          {
            ...user,
            cwd: '/',
            stdio: 'ignore',
            detached: true, // a group of its own, so that all its processes can be killed at once
          },
        );
      return (await answers(url)) ? true : undefined;
    });
  }

  async function kill(): Promise<void> {
    const dying = server;
    if (dying?.pid === undefined || dying.exitCode !== null || dying.signalCode !== null) return;
    const gone = once(dying, 'exit');
    process.kill(-dying.pid, 'SIGKILL');
    await gone;
  }

  const killAtExit = () => void kill();
  process.on('exit', killAtExit);
  await start();
  return {
    url,
    port,
    kill,
    start,
    async remove() {
      process.off('exit', killAtExit);
      await kill();
      for (const folder of [data, files]) await rm(folder, { recursive: true, force: true });
    },
  };
}

async function newFolder(parent: string, user: User | undefined): Promise<string> {
  const folder = await mkdtemp(join(parent, 'berth-mortal-'));
  if (user) await chown(folder, user.uid, user.gid);
  return folder;
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}
