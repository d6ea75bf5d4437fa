import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { endBrokers, makeFolder, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import type { WireSession } from '../support/wire-session.ts';

// docs/ci.md promises that the machine is given back whatever happens; each of its cases happens here, to the script as people copy it.

const script = resolve(import.meta.dirname, '../../deploy/ci/rent-for-a-run.sh');
const QUICK = { SIMULATED_CREATE_SECONDS: '0.1', SIMULATED_BOOT_SECONDS: '0.2', SIMULATED_DESTROY_SECONDS: '0.1' };

const servers = new Set<Server>();
const runs = new Set<Run>();

afterEach(async ({ task }) => {
  for (const { kill } of runs) kill('SIGKILL');
  runs.clear();
  for (const server of servers) server.close();
  servers.clear();
  await endBrokers({ show: task.result?.state === 'fail' });
});

describePart('sshd', 'the CI recipe', () => {
  it('runs the command on a machine of its own and gives it back', async () => {
    const broker = await startBroker({ env: QUICK });

    const run = rent(broker, ['nvidia-smi', '-L']);

    expect(await run.ended, run.output()).toBe(0);
    expect(run.stdout()).toMatch(/^GPU 0: NVIDIA/m);
    expect(await sessionsOf(broker)).toEqual([expect.objectContaining({ status: 'stopped', reason: 'user_requested' })]);
    expect(readdirSync(run.folder)).toEqual([]);
  });

  it('ends with the exit code of a command that fails, and gives the machine back', async () => {
    const broker = await startBroker({ env: QUICK });

    const run = rent(broker, ['exit 3']);

    expect(await run.ended, run.output()).toBe(3);
    expect(await sessionsOf(broker)).toEqual([expect.objectContaining({ status: 'stopped', reason: 'user_requested' })]);
  });

  it('gives the machine back when it is cancelled while the command runs', async () => {
    const broker = await startBroker({ env: QUICK });
    const run = rent(broker, ['echo', 'begun', '&&', 'sleep', '300']);
    await until('the command to run', () => (run.stdout().includes('begun') ? true : undefined));

    run.kill('SIGTERM');

    expect(await run.ended, run.output()).toBe(143);
    expect(run.output()).toContain('the machine was given back');
    expect(await sessionsOf(broker)).toEqual([expect.objectContaining({ status: 'stopped', reason: 'user_requested' })]);
    expect(readdirSync(run.folder)).toEqual([]);
  });

  it.each([
    ['once, by SIGINT', ['SIGINT']],
    ['once, by SIGTERM', ['SIGTERM']],
    ['by two signals at once', ['SIGINT', 'SIGTERM']],
  ] as const)('gives the machine back when it is cancelled while the machine boots: %s', async (_, signals) => {
    const broker = await startBroker({ env: { ...QUICK, SIMULATED_BOOT_SECONDS: '300' } });
    const run = rent(broker, ['true']);
    await until('a machine that boots', async () =>
      (await sessionsOf(broker)).some(({ status }) => status === 'provisioning') ? true : undefined,
    );

    for (const signal of signals) run.kill(signal);

    expect([130, 143]).toContain(await run.ended);
    expect(run.output()).toContain('the machine was given back');
    expect(await sessionsOf(broker)).toEqual([expect.objectContaining({ status: 'stopped', reason: 'user_requested' })]);
  });

  it('finds and ends the session whose answer was lost', async () => {
    const broker = await startBroker({ env: QUICK });
    const url = await losingFirstAnswer(broker);

    const run = rent(broker, ['true'], { BERTH_URL: url });

    expect(await run.ended, run.output()).toBe(75);
    expect(run.output()).toContain('the machine was given back');
    expect(await sessionsOf(broker)).toEqual([expect.objectContaining({ status: 'stopped', reason: 'user_requested' })]);
  });

  it('says so when no machine can be had, and asks for nothing that would have to be given back', async () => {
    const broker = await startBroker({ env: QUICK });

    const run = rent(broker, ['true'], { BERTH_WANTED: '{"gpu_type": "Voodoo2", "gpu_count": 1}' });

    expect(await run.ended, run.output()).toBe(75);
    expect(run.output()).toContain('no machine: create session: no current offer fits these requirements');
    expect(await sessionsOf(broker)).toEqual([]);
  });

  it('gives back a machine that never comes up', async () => {
    const broker = await startBroker({ env: { ...QUICK, SIMULATED_FAULTS: 'fail_boot=1' } });

    const run = rent(broker, ['true']);

    expect(await run.ended, run.output()).toBe(75);
    for (const { status } of await sessionsOf(broker)) expect(['stopped', 'failed']).toContain(status);
  });

  it('shows its key where keys are configured', async () => {
    const broker = await startBroker({ env: { ...QUICK, API_KEYS: 'ci=correct-horse-battery-staple' } });

    const stranger = rent(broker, ['true']);
    expect(await stranger.ended, stranger.output()).toBe(75);
    const known = rent(broker, ['hostname'], { BERTH_API_KEY: 'correct-horse-battery-staple' });

    expect(await known.ended, known.output()).toBe(0);
    expect(known.stdout()).toMatch(/^berth-/);
  });
});

interface Run {
  /** TMPDIR of the script. */
  readonly folder: string;
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;
  stdout(): string;
  /** Both streams. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
}

function rent(broker: BrokerProcess, command: readonly string[], settings: Readonly<Record<string, string>> = {}): Run {
  const folder = makeFolder();
  const child = spawn('bash', [script, ...command], {
    env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder, BERTH_URL: broker.url, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed: string[] = [];
  const all: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => void printed.push(text));
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => all.push(text));
  const run: Run = {
    folder,
    ended: once(child, 'close').then(() => child.exitCode),
    stdout: () => printed.join(''),
    output: () => all.join(''),
    kill: (signal) => void child.kill(signal),
  };
  runs.add(run);
  void run.ended.then(() => runs.delete(run));
  return run;
}

async function sessionsOf(broker: BrokerProcess): Promise<readonly WireSession[]> {
  const answer = await broker.api<{ sessions: readonly WireSession[] }>('GET', '/api/v1/sessions');
  return answer.body.sessions;
}

/** The address of a relay that carries the first request to the broker, and cuts the connection instead of handing back its answer. */
async function losingFirstAnswer(broker: BrokerProcess): Promise<string> {
  let lost = false;
  const server = createServer((incoming, response) => {
    const onwards = request(`${broker.url}${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      agent: false,
    });
    incoming.pipe(onwards);
    onwards.on('response', (answer) => {
      if (lost) {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        return;
      }
      lost = true;
      answer.resume().on('end', () => response.destroy());
    });
    onwards.on('error', () => response.destroy());
  });
  servers.add(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return `http://127.0.0.1:${port}`;
}
