import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '../..');
const PROGRAM = join(root, 'dist/src/cli/main.js');

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface Answer<Body> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON; undefined where it is none. */
  readonly body: Body;
}

export interface BrokerOptions {
  /** Beside these the process has PATH, HOME and its database in the environment, and nothing else. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs and keeps its database; a new one when absent. */
  readonly folder?: string;
  readonly port?: number;
  readonly drain?: boolean;
  /** By `npm start` in a process group of its own, as from a terminal; `pid` is npm's then. */
  readonly byNpm?: boolean;
}

export interface BrokerProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly folder: string;
  readonly databasePath: string;
  readonly env: Readonly<Record<string, string>>;
  /** Its exit code once it has ended; null where a signal ended it. */
  readonly ended: Promise<number | null>;
  /** What it logged so far, lines that are no JSON left out. */
  logs(): readonly LogLine[];
  /** Everything it printed so far, standard error included. */
  output(): string;
  /** Sends a signal and does not wait: SIGSTOP, SIGCONT. */
  signal(signal: NodeJS.Signals): void;
  /** Sends a signal to all processes of its group, as a terminal does at Ctrl-C. Only where npm has started it. */
  signalGroup(signal: NodeJS.Signals): void;
  /** Asks it to end, by SIGTERM unless told otherwise; resolves with the exit code once it has. */
  stop(signal?: 'SIGTERM' | 'SIGINT'): Promise<number | null>;
  /** SIGKILL; resolves once it has ended. */
  kill(): Promise<void>;
  /** Another process on the same folder and port, with the same settings but for those given. */
  again(changes?: Readonly<Record<string, string>>): Promise<BrokerProcess>;
  api<Body>(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer<Body>>;
}

export interface LaunchedBroker extends BrokerProcess {
  /** Once it listens; rejects when it ends before. */
  listening(): Promise<void>;
}

interface Life {
  readonly child: ChildProcess;
  /** Whether it leads a process group of its own. */
  readonly isGroup: boolean;
  readonly output: string[];
  readonly ended: Promise<number | null>;
}

const START_BOUND_MS = 60_000;
const STOP_BOUND_MS = 90_000;

const lives = new Set<Life>();
const folders = new Set<string>();
process.on('exit', () => {
  for (const life of lives) killAll(life);
});

/** The built broker as a process of its own, once /ready says so. Whoever starts one calls `endBrokers` in afterEach. */
export async function startBroker(options: BrokerOptions = {}): Promise<BrokerProcess> {
  const folder = options.folder ?? makeFolder();
  const { env = {}, port = 0, drain = false, byNpm = false } = options;
  const life = await spawnBroker({ env, folder, port, drain, byNpm });
  const address = await untilListening(life);
  await until(
    'an answer of /ready that says so',
    async () => ((await ask({ url: address, method: 'GET', path: '/ready' })).status === 200 ? true : undefined),
    START_BOUND_MS,
  );
  return brokerOf(life, address, { env, folder, drain });
}

/** The same as soon as the process exists, on a port that the caller has chosen: it can be killed while it starts. */
export async function launchBroker(options: BrokerOptions & { readonly port: number }): Promise<LaunchedBroker> {
  const { env = {}, folder = makeFolder(), port, drain = false, byNpm = false } = options;
  const life = await spawnBroker({ env, folder, port, drain, byNpm });
  return {
    ...brokerOf(life, `http://127.0.0.1:${port}`, { env, folder, drain }),
    listening: async () => void (await untilListening(life)),
  };
}

function brokerOf(
  life: Life,
  address: string,
  settings: { env: Readonly<Record<string, string>>; folder: string; drain: boolean },
): BrokerProcess {
  const { child, ended } = life;
  const { env, folder } = settings;
  const port = Number(new URL(address).port);
  return {
    url: address,
    port,
    pid: child.pid ?? 0,
    folder,
    databasePath: join(folder, 'berth.db'),
    env,
    ended,
    logs: () => logLines(life),
    output: () => life.output.join(''),
    signal: (signal) => void child.kill(signal),
    signalGroup: (signal) => void process.kill(-(child.pid ?? Number.NaN), signal),
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      return inTime(life, STOP_BOUND_MS, `it did not end on ${signal}`);
    },
    kill: async () => {
      child.kill('SIGKILL');
      await inTime(life, STOP_BOUND_MS, 'it did not end on SIGKILL');
    },
    again: (changes = {}) => startBroker({ ...settings, env: { ...env, ...changes }, port }),
    api: (method, path, body, headers) => ask({ url: address, method, path, body, headers }),
  };
}

/** The built broker where it must not start, or ends by itself: what it printed, and its exit code. */
export async function runBroker(options: BrokerOptions = {}): Promise<{ code: number | null; output: string }> {
  const { env = {}, folder = makeFolder(), port = 0, drain = false, byNpm = false } = options;
  const life = await spawnBroker({ env, folder, port, drain, byNpm });
  const code = await inTime(life, START_BOUND_MS, 'it was to end by itself and did not');
  return { code, output: life.output.join('') };
}

/** Ends what was started, by process id, and takes the folders away; says what the brokers had logged when the test failed. */
export async function endBrokers({ show = false } = {}): Promise<void> {
  for (const life of lives) {
    if (show) process.stderr.write(`--- log of broker ${life.child.pid}\n${life.output.join('').slice(-6_000)}\n`);
    killAll(life);
    await life.ended;
  }
  lives.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** Also what npm has started, which would outlive it. */
function killAll({ child, isGroup }: Life): void {
  if (!isGroup || child.pid === undefined) return void child.kill('SIGKILL');
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // nobody of the group is left
  }
}

/** A folder that `endBrokers` takes away. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-e2e-'));
  folders.add(folder);
  return folder;
}

/** Looks until there is something to be seen; the bound is generous, since a level is waited for and no time is measured. */
export async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, boundMs = 60_000): Promise<T> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (performance.now() > deadline) throw new Error(`never seen within ${boundMs / 1_000} s: ${what}`);
    await pause(50);
  }
}

async function spawnBroker({ env, folder, port, drain, byNpm }: Required<BrokerOptions>): Promise<Life> {
  await buildWhenOld();
  const words = drain ? ['--drain'] : [];
  const [program, arguments_] = byNpm ? ['npm', ['start', '--', ...words]] : [process.execPath, [PROGRAM, 'serve', ...words]];
  const child = spawn(program, arguments_, {
    cwd: byNpm ? root : folder, // a .env of the repository's folder is none of ours
    detached: byNpm,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      ...(byNpm ? { npm_config_update_notifier: 'false' } : {}),
      DATABASE_PATH: join(folder, 'berth.db'),
      SERVER_PORT: String(port),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => output.push(text));
  const ended = once(child, 'close').then(() => child.exitCode);
  const life = { child, isGroup: byNpm, output, ended };
  lives.add(life);
  return life;
}

async function untilListening(life: Life): Promise<string> {
  return until(
    'the line that the broker is listening',
    () => {
      const line = logLines(life).find(({ message }) => message === 'berth is listening');
      if (line) return String(line['address']);
      const text = /berth is listening address=(\S+)/.exec(life.output.join(''))?.[1];
      if (text !== undefined) return text;
      const { exitCode, signalCode } = life.child;
      if (exitCode !== null || signalCode !== null)
        throw new Error(`the broker ended (${exitCode ?? signalCode}) before it listened:\n${life.output.join('')}`);
      return undefined;
    },
    START_BOUND_MS,
  );
}

async function inTime(life: Life, boundMs: number, complaint: string): Promise<number | null> {
  const late = new AbortController();
  const code = await Promise.race([
    life.ended,
    pause(boundMs, 'late' as const, { signal: late.signal }).catch(() => 'late' as const),
  ]);
  late.abort();
  if (code === 'late') throw new Error(`broker ${life.child.pid}: ${complaint}:\n${life.output.join('').slice(-4_000)}`);
  return code;
}

function logLines({ output }: Life): LogLine[] {
  return output
    .join('')
    .split('\n')
    .flatMap((line) => {
      if (!line.startsWith('{')) return [];
      try {
        return [JSON.parse(line) as LogLine]; // the logger writes both fields in every line
      } catch {
        return []; // the rest of it is still on its way
      }
    });
}

interface Question {
  readonly url: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A connection of its own for each request: none is left over from a process that was killed. */
async function ask<Body>({ url, method, path, body, headers = {} }: Question): Promise<Answer<Body>> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const outgoing = request(`${url}${path}`, {
    method,
    agent: false,
    headers: {
      ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
      ...headers,
    },
  });
  outgoing.end(payload);
  const [response] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage]; // as the event's documentation has it
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer); // no encoding was set
  const text = Buffer.concat(chunks).toString('utf8');
  return { status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) as Body }; // the caller says what it expects
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

let built: Promise<void> | undefined;

/** Once a run: `npm test` has built already, a bare vitest may not have. */
function buildWhenOld(): Promise<void> {
  built ??= (async () => {
    if (isBuildOld()) await promisify(execFile)(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root });
  })();
  return built;
}

function isBuildOld(): boolean {
  if (!existsSync(PROGRAM)) return true;
  const builtAt = statSync(PROGRAM).mtimeMs;
  return ['src', 'providers'].some((name) =>
    readdirSync(join(root, name), { recursive: true, encoding: 'utf8' }).some((file) => {
      const { mtimeMs } = statSync(join(root, name, file));
      return mtimeMs > builtAt && file.endsWith('.ts') && !file.endsWith('.test.ts');
    }),
  );
}
