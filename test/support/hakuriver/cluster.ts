import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from '../broker-process.ts';
import { makeTestImage, type TestEngine } from '../docker-engine.ts';

const run = promisify(execFile);
const REQUIREMENTS = fileURLToPath(new URL('requirements.txt', import.meta.url));
const INSTALL_BOUND_MS = 300_000;
const START_BOUND_MS = 60_000;

export type ClusterProcess = 'host' | 'node-1' | 'node-2';

/** A real HakuRiver 0.3.0: a Host and Runners of one machine, each with a host name of its own, over a private Docker engine. */
export interface HakuRiverCluster {
  readonly url: string;
  /** `host:port` of the SSH proxy. */
  readonly sshProxy: string;
  /** The name of the container environment that the Host starts VPS from. */
  readonly environment: string;
  /** Ends one process at once and without a word. */
  kill(name: ClusterProcess): Promise<void>;
  /** Starts it again where it was. */
  begin(name: ClusterProcess): Promise<void>;
  /** What it printed; for a failed test. */
  output(name: ClusterProcess): Promise<string>;
  stop(): Promise<void>;
}

interface ClusterOptions {
  readonly engine: TestEngine;
  readonly folder: string;
  readonly runners?: 1 | 2;
}

const ENVIRONMENT = 'test-env';

/** Takes half a minute the first time, for pip; needs root, for host names and the engine. */
export async function startHakuRiverCluster({ engine, folder, runners = 2 }: ClusterOptions): Promise<HakuRiverCluster> {
  const env: NodeJS.ProcessEnv = { ...process.env, DOCKER_HOST: engine.dockerHost };
  const containers = join(folder, 'shared', 'containers');
  const logs = join(folder, 'logs');
  await Promise.all([join(folder, 'bin'), join(folder, 'db'), join(folder, 'shared', 'shared_data'), containers, logs].map((each) => mkdir(each, { recursive: true }))); // prettier-ignore
  await run('python3', ['-m', 'venv', join(folder, 'venv')], { timeout: INSTALL_BOUND_MS });
  await run(
    join(folder, 'venv/bin/pip'),
    ['install', '--quiet', '--disable-pip-version-check', '--requirement', REQUIREMENTS],
    {
      timeout: INSTALL_BOUND_MS,
    },
  );
  // a Runner repeats what failed with sudo, which would drop DOCKER_HOST
  await writeProgram(join(folder, 'bin', 'sudo'), 'exec "$@"');
  await saveEnvironment(env, containers);
  const [host, proxy, first, second] = await freePorts(4);
  const ports = { host, 'node-1': first, 'node-2': second } as const;
  const names: readonly ClusterProcess[] = runners === 2 ? ['host', 'node-1', 'node-2'] : ['host', 'node-1'];
  for (const name of names) {
    await mkdir(join(folder, `temp-${name}`), { recursive: true });
    await writeFile(join(folder, `${name}.toml`), settings({ folder, name, host, proxy, runner: ports[name] }));
  }
  const running = new Map<ClusterProcess, ChildProcess>();

  async function begin(name: ClusterProcess): Promise<void> {
    const child = spawn('sh', ['-c', commandOf(name, join(folder, 'venv', 'bin'))], {
      detached: true,
      env: { ...env, HAKURIVER_CONFIG: join(folder, `${name}.toml`), PATH: `${join(folder, 'bin')}:${env['PATH'] ?? ''}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(join(logs, name), { flags: 'a' });
    child.stdout.pipe(log);
    child.stderr.pipe(log, { end: false });
    running.set(name, child);
    await until(`${name} of HakuRiver`, () => answers(name === 'host' ? `${url}/nodes` : `http://127.0.0.1:${ports[name]}/openapi.json`), START_BOUND_MS); // prettier-ignore
    if (name !== 'host') await until(`${name} at the Host`, () => isOnline(url, name), START_BOUND_MS);
  }

  async function kill(name: ClusterProcess): Promise<void> {
    const child = running.get(name);
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    process.kill(-child.pid, 'SIGKILL'); // its own group: what the shell started is in it
    await ended;
  }

  const url = `http://127.0.0.1:${host}`;
  try {
    for (const name of names) await begin(name);
  } catch (error) {
    for (const name of names) await kill(name);
    throw error;
  }
  return {
    url,
    sshProxy: `127.0.0.1:${proxy}`,
    environment: ENVIRONMENT,
    kill,
    begin,
    output: (name) => readFile(join(logs, name), 'utf8'),
    async stop() {
      for (const name of names.toReversed()) await kill(name);
    },
  };
}

function commandOf(name: ClusterProcess, programs: string): string {
  if (name === 'host') return `exec '${programs}/hakuriver.host'`;
  return `exec unshare --uts sh -c 'hostname ${name} && exec "${programs}/hakuriver.runner"'`;
}

/** The Host loads a tar file that is newer than the image of that name; otherwise it would ask a registry. */
async function saveEnvironment(env: NodeJS.ProcessEnv, folder: string): Promise<void> {
  const image = `hakuriver/${ENVIRONMENT}:base`;
  const base = await makeTestImage(env['DOCKER_HOST'] ?? '', 'berth-ssh');
  // HakuRiver looks for a package manager with `which` and runs it before sshd: one that has nothing to do
  const file = `FROM ${base}\nRUN printf '#!/bin/sh\\nexit 0\\n' >/usr/bin/apk && printf '#!/bin/bash\\ntype -P "$1"\\n' >/usr/bin/which && chmod 755 /usr/bin/apk /usr/bin/which && rm -f /etc/ssh/ssh_host_* && mkdir -p /run/sshd\nENTRYPOINT []\nCMD ["sh"]\n`;
  await run('sh', ['-c', 'printf %s "$2" | docker build --quiet --tag "$1" -', 'build', image, file], {
    env,
    timeout: 120_000,
  });
  const { stdout } = await run('docker', ['image', 'inspect', '--format', '{{.Created}}', image], { env });
  const created = Math.floor(Date.parse(stdout.trim()) / 1_000);
  await run('docker', ['save', '--output', join(folder, `${ENVIRONMENT}-${created}.tar`), image], { env });
}

function settings(at: { folder: string; name: ClusterProcess; host: number; proxy: number; runner: number }): string {
  return `[network]
host_bind_ip = "127.0.0.1"
host_port = ${at.host}
host_ssh_proxy_port = ${at.proxy}
host_reachable_address = "127.0.0.1"
runner_address = "127.0.0.1"
runner_port = ${at.runner}
[paths]
shared_dir = "${at.folder}/shared"
local_temp_dir = "${at.folder}/temp-${at.name}"
numactl_path = "/usr/bin/true"
host_log_file = ""
runner_log_file = ""
[database]
db_file = "${at.folder}/db/cluster.db"
[timing]
resource_check_interval = 1
cleanup_check_interval = 1
heartbeat_interval = 1
heartbeat_timeout_factor = 4
[environment]
runner_user = ""
[docker]
container_dir = "containers"
default_container_name = "${ENVIRONMENT}"
initial_base_image = "hakuriver/${ENVIRONMENT}:base"
tasks_privileged = false
additional_mounts = []
`;
}

async function writeProgram(path: string, script: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

async function freePorts(count: number): Promise<[number, number, number, number]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port); // holds: they listen on TCP
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports as [number, number, number, number]; // holds: as many as were asked for, which is four
}

async function answers(url: string): Promise<true | undefined> {
  return (await fetch(url).catch(() => undefined))?.ok === true || undefined;
}

async function isOnline(url: string, hostname: string): Promise<true | undefined> {
  const nodes = (await (await fetch(`${url}/nodes`)).json()) as readonly { hostname: string; status: string }[]; // its own answer, of a known version
  return nodes.some((node) => node.hostname === hostname && node.status === 'online') || undefined;
}
