import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './end-with-us.ts';

export interface BrokerProcess {
  readonly url: string;
  /** From the spawn to the first 200 of /ready. */
  readonly readyMs: number;
  /** Processor time that it has used since the spawn, on all cores: what load by others disturbs least. */
  cpuMs(): Promise<number>;
  /** Memory that the kernel counts as its own now. */
  residentMib(): Promise<number>;
  /** Ends it by SIGTERM and waits. */
  stop(): Promise<void>;
}

export interface BrokerOptions {
  /** Its database, its providers' files and its log go here. */
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Writes a .cpuprofile there when it ends. */
  readonly profileFolder?: string;
}

/** BENCH_PROGRAM names the main.js of another build, to compare two. */
const BUILT = process.env['BENCH_PROGRAM'] ?? fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const SOURCE = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PATIENCE_MS = 60_000;

/** What is measured: the build, or the sources through tsx where there is none (then start-up times say nothing). */
export function describeProgram(): string {
  return existsSync(BUILT) ? 'the built program' : 'the sources through tsx, since dist/ is not built: npm run build';
}

/** Runs the real broker on a free loopback port until it is ready. Its environment is only what is given here. */
export async function startBroker({ folder, environment = {}, profileFolder }: BrokerOptions): Promise<BrokerProcess> {
  const port = await freePort();
  const logPath = join(folder, 'broker.log');
  const log = openSync(logPath, 'a');
  const script = existsSync(BUILT) ? [BUILT] : ['--import', import.meta.resolve('tsx'), SOURCE];
  const startedMs = performance.now();
  const child = spawn(
    process.execPath,
    [...(profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]), ...script, 'serve'],
    {
      cwd: folder,
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        SERVER_PORT: String(port),
        DATABASE_PATH: join(folder, 'berth.db'),
        ...environment,
      },
    },
  );
  const kill = () => child.kill('SIGKILL');
  endWithUs(child);
  let isEnding = false;
  child.once('exit', (code, signal) => {
    if (isEnding) return;
    console.error(`the broker ended by itself (${signal ?? `exit code ${code}`}); the end of its log:\n${endOf(logPath)}`);
    process.exit(1);
  });
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(child, url);
  } catch (error) {
    isEnding = true;
    kill();
    throw new Error(`the broker did not become ready; the end of its log:\n${endOf(logPath)}`, { cause: error });
  }
  const readyMs = performance.now() - startedMs;
  return {
    url,
    readyMs,
    cpuMs: () => cpuMs(child.pid),
    residentMib: () => residentMib(child.pid),
    async stop() {
      isEnding = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const late = setTimeout(kill, PATIENCE_MS);
      await once(child, 'exit');
      clearTimeout(late);
    },
  };
}

const endOf = (path: string) => readFileSync(path, 'utf8').slice(-2_000);

async function untilReady(child: ChildProcess, url: string): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (performance.now() < deadlineMs) {
    if (child.exitCode !== null) throw new Error(`it ended with exit code ${child.exitCode}`);
    const answer = await fetch(`${url}/ready`).catch(() => undefined); // nobody listens yet
    if (answer?.status === 200) return;
    await delay(5);
  }
  throw new Error(`no 200 from /ready within ${PATIENCE_MS / 1_000} s`);
}

/** The kernel gives ports in turn, so that this one is not given again soon. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port');
  return address.port;
}

async function residentMib(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''); // no Linux: no figure
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1_024;
}

/** Clock ticks of user and system time, of which Linux has a hundred a second. */
async function cpuMs(pid: number | undefined): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')).split(') ')[1]?.split(' ');
  return (Number(fields?.[11]) + Number(fields?.[12])) * 10;
}
