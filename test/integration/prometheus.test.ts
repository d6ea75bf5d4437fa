import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { endBrokers, makeFolder, startBroker, until, type BrokerProcess } from '../support/broker-process.ts';
import { dashboardExpressions } from '../support/dashboard.ts';
import { describePart } from '../support/parts.ts';
import { namesIn } from '../support/promql.ts';
import { endForGood, rentRunning } from '../support/wire-session.ts';

// The scrape file, the rules and the dashboard that ship, in a real Prometheus that watches a real broker.

const folder = resolve(import.meta.dirname, '../../deploy/prometheus');
const shipped = join(folder, 'prometheus.yml');
const ruleFiles = readdirSync(join(folder, 'rules')).map((file) => join(folder, 'rules', file));
const ruleTests = readdirSync(join(folder, 'tests')).map((file) => join(folder, 'tests', file));
const QUICK = { SIMULATED_CREATE_SECONDS: '0.1', SIMULATED_BOOT_SECONDS: '0.2', SIMULATED_DESTROY_SECONDS: '0.1' };
/** A Grafana that looks at the last minute, at all providers. */
const VARIABLES: readonly (readonly [string, string])[] = [
  ['$__rate_interval', '30s'],
  ['$provider', '.*'],
];
/** Panels that show something after one session; the others may be empty while all is well. */
const SHOWING = [
  'Running',
  'Ends not confirmed',
  'Oldest unconfirmed end',
  'Clock',
  'Active sessions',
  'Ended sessions',
  'Unconfirmed spend',
  'Orphans alive',
  'Lists of instances',
  'Creates and retries',
  'Request to running',
  'Address to SSH proven',
  'Offers',
  'Age of the offers',
  'Calls',
  'Time of calls, p95',
  'Requests',
  'Time of requests, p95',
  'Since the last good pass',
  'Time of passes, p95',
  'Memory',
  'Event loop lag, p99',
];

describePart('prometheus', 'Prometheus', () => {
  let broker: BrokerProcess;
  let prometheus: Prometheus;

  beforeAll(async () => {
    broker = await startBroker({ env: QUICK });
    prometheus = await startPrometheus(new URL(broker.url).host);
    await prometheus.untilScraped(2);
    const { session } = await rentRunning(broker);
    await endForGood(broker, session.id);
    await prometheus.untilScraped(3);
  });

  afterAll(async () => {
    await prometheus?.stop();
    await endBrokers();
  });

  it('takes the scrape file as it ships', async () => {
    const { code, output } = await run('promtool', ['check', 'config', shipped]);
    expect(code, output).toBe(0);
  });

  it('evaluates every rule, asks only for metrics and labels that the broker exposes, and raises no alarm over a healthy one', async () => {
    const rules = await prometheus.rules();
    const recorded = rules.filter(({ type }) => type === 'recording');
    const alerts = rules.filter(({ type }) => type === 'alerting');
    const exposed = (await broker.api<undefined>('GET', '/metrics')).text;
    const known = new Set([
      ...[...exposed.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name),
      ...recorded.map(({ name }) => name),
      'up',
    ]);
    const labels = await prometheus.labels();
    const asked = rules.map(({ query }) => namesIn(query));

    expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
    expect(alerts.length).toBeGreaterThan(10);
    expect(asked.flatMap(({ names }) => names).filter((name) => !known.has(name))).toEqual([]);
    expect(asked.flatMap((each) => each.labels).filter((label) => !labels.includes(label))).toEqual([]);
    expect(alerts.filter(({ state }) => state !== 'inactive')).toEqual([]);
  });

  it('finds nothing to complain of in our metrics but the two names that are kept for existing dashboards', async () => {
    const page = (await broker.api<undefined>('GET', '/metrics')).text;

    const { output } = await run('promtool', ['check', 'metrics'], page);

    const complaints = output.split('\n').filter((line) => /^(gpu|http|berth)_/.test(line));
    expect(complaints.filter((line) => !/^gpu_(ssh_verify_errors_by_type|cost_accrued_usd) /.test(line))).toEqual([]);
    expect(page).toMatch(/^gpu_sessions_created_total\{provider="simulated"\} 1$/m);
  });

  it('understands every expression of the dashboard', async () => {
    const refused = [];
    for (const { panel, expr } of await dashboardExpressions()) {
      const answer = await prometheus.query(expr);
      if (answer.status !== 'success') refused.push({ panel, expr, answer });
    }
    expect(refused).toEqual([]);
  });

  it.each(SHOWING)('shows something in the panel "%s"', async (panel) => {
    const expressions = (await dashboardExpressions()).filter((expression) => expression.panel === panel);
    const answers = await Promise.all(expressions.map(({ expr }) => prometheus.query(expr)));
    const values = answers.flatMap(({ data }) => data?.result ?? []).map(({ value }) => Number(value[1]));
    expect(values.filter((value) => Number.isFinite(value)).length, JSON.stringify(expressions)).toBeGreaterThan(0);
  });

  // at the end: it takes its time, and the panels look back half a minute
  it('takes the rules as they ship, and their tests hold', async () => {
    expect(ruleFiles.length).toBeGreaterThan(0);
    const checked = await run('promtool', ['check', 'rules', ...ruleFiles]);
    expect(checked.code, checked.output).toBe(0);

    expect(ruleTests.length).toBeGreaterThan(0);
    const tested = await run('promtool', ['test', 'rules', ...ruleTests]);
    expect(tested.code, tested.output).toBe(0);
  });
});

interface QueryAnswer {
  readonly status: 'success' | 'error';
  readonly error?: string;
  readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

interface Rule {
  readonly type: 'recording' | 'alerting';
  readonly name: string;
  readonly query: string;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly state?: 'inactive' | 'pending' | 'firing';
}

interface Prometheus {
  /** All of them, once each has been evaluated. */
  rules(): Promise<readonly Rule[]>;
  /** The names of all labels that were scraped. */
  labels(): Promise<readonly string[]>;
  query(expr: string): Promise<QueryAnswer>;
  /** Resolves when the broker has been scraped so many times more. */
  untilScraped(times: number): Promise<void>;
  stop(): Promise<void>;
}

/** One of its own on a free port of loopback, with the shipped file but for the target, and a scrape each second. */
async function startPrometheus(target: string): Promise<Prometheus> {
  const home = makeFolder();
  const port = await freePort();
  const file = join(home, 'prometheus.yml');
  const text = await readFile(shipped, 'utf8');
  await cp(join(folder, 'rules'), join(home, 'rules'), { recursive: true });
  await writeFile(
    file,
    text.replace('127.0.0.1:8080', target).replace(/(scrape|evaluation)_interval: 15s/g, '$1_interval: 1s'),
  );
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${join(home, 'data')}`, `--web.listen-address=127.0.0.1:${port}`],
    { cwd: home, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => output.push(part));

  const query = async (expr: string): Promise<QueryAnswer> => {
    const filled = VARIABLES.reduce((text_, [name, value]) => text_.replaceAll(name, value), expr);
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/query?${new URLSearchParams({ query: filled }).toString()}`);
    return (await response.json()) as QueryAnswer; // as its documentation has it
  };
  const scrapes = async () => {
    const answer = await query('count_over_time(up{job="berth"}[1h]) and up{job="berth"} == 1').catch(() => undefined);
    return Number(answer?.data?.result[0]?.value[1] ?? 0);
  };
  const prometheus: Prometheus = {
    rules: () =>
      until('every rule to be evaluated', async () => {
        const response = await fetch(`http://127.0.0.1:${port}/api/v1/rules`);
        const { data } = (await response.json()) as { data: { groups: readonly { rules: readonly Rule[] }[] } }; // as its documentation has it
        const rules = data.groups.flatMap((group) => group.rules);
        return rules.length > 0 && rules.every(({ health }) => health !== 'unknown') ? rules : undefined;
      }),
    labels: async () => {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/labels`);
      return ((await response.json()) as { data: readonly string[] }).data; // as its documentation has it
    },
    query,
    untilScraped: async (times) => {
      const before = await scrapes();
      await until('a scrape of the broker', async () => {
        if (child.exitCode !== null) throw new Error(`prometheus ended:\n${output.join('')}`);
        return (await scrapes()) >= before + times ? true : undefined;
      });
    },
    stop: () => end(child),
  };
  return prometheus;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  server.close();
  await once(server, 'close');
  return port;
}

function run(program: string, args: readonly string[], input = ''): Promise<{ code: number; output: string }> {
  return new Promise((done, fail) => {
    const child = execFile(program, args, { timeout: 60_000, encoding: 'utf8' }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code !== 'number') return fail(error ?? new Error(`${program} ended without an exit code`));
      done({ code, output: `${stdout}${stderr}` });
    });
    child.stdin?.end(input);
  });
}
