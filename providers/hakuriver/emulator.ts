import type { Clock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { createAgenda } from '../../test/emulators/kit/agenda.ts';
import { openControlServer } from '../../test/emulators/kit/control-server.ts';
import { createEmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import type { EmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import { createFaultQueue } from '../../test/emulators/kit/fault.ts';
import { openHttpServer } from '../../test/emulators/kit/http-server.ts';
import { createRequestLog } from '../../test/emulators/kit/request-log.ts';
import { controlRoutes } from '../../test/emulators/hakuriver/control-routes.ts';
import { createClusterControls } from '../../test/emulators/hakuriver/controls.ts';
import type { ClusterControls } from '../../test/emulators/hakuriver/controls.ts';
import { DIALECTS } from '../../test/emulators/hakuriver/dialect.ts';
import type { Dialect } from '../../test/emulators/hakuriver/dialect.ts';
import { startHostLife } from '../../test/emulators/hakuriver/heartbeats.ts';
import { serveHost } from '../../test/emulators/hakuriver/host-api.ts';
import type { Role, Service } from '../../test/emulators/hakuriver/host-api.ts';
import { createHostRoutes } from '../../test/emulators/hakuriver/host-routes.ts';
import { Knobs, SCENARIOS } from '../../test/emulators/hakuriver/knobs.ts';
import { addNode, killRunner } from '../../test/emulators/hakuriver/node-life.ts';
import { serveRunner } from '../../test/emulators/hakuriver/runner-api.ts';
import { createSnowflakes } from '../../test/emulators/hakuriver/snowflake.ts';
import { openSshProxy } from '../../test/emulators/hakuriver/ssh-proxy.ts';
import type { Environment, NodeSpec, World } from '../../test/emulators/hakuriver/world.ts';

export interface HakuRiverEmulatorOptions {
  readonly clock: Clock;
  readonly seed: number;
  /** P: the published package (the default); S: the seed's version; H and K: the later ones, K under `/api`. */
  readonly dialect?: Dialect;
  /** 0 or absent: a free one. */
  readonly port?: number;
  readonly proxyPort?: number;
  readonly controlPort?: number;
  /** `strict` refuses names of fields that the Host would ignore; `lenient` when absent. */
  readonly mode?: 'strict' | 'lenient';
  /** Registered from the start; three when absent, of which two have GPUs. */
  readonly nodes?: readonly NodeSpec[];
  /** Container environments by name, beside the default one. A name that is not among them never starts. */
  readonly environments?: Readonly<Record<string, Environment>>;
  /** K alone: authentication on; `tokens` has a bearer token a role. */
  readonly auth?: boolean;
  /** `calm` (no accidents), `default` or `stress`. */
  readonly scenario?: string;
  readonly knobs?: Partial<Knobs>;
  /** How many of its milliseconds pass in one of the clock's. */
  readonly speed?: number;
}

export interface HakuRiverEmulator extends ClusterControls {
  /** Of the Host, without a prefix. */
  readonly url: string;
  readonly proxyPort: number;
  readonly controlUrl: string;
  readonly dialect: Dialect;
  /** Undefined while authentication is off. */
  readonly tokens: Readonly<Record<Role, string>> | undefined;
  /** Its HTTP and its SSH proxy; the rows are kept. */
  stopHost(): Promise<void>;
  startHost(): Promise<void>;
  restartHost(): Promise<void>;
  /** Everything anew, on the same ports of Host, proxy and controls. */
  reset(seed?: number): Promise<void>;
  close(): Promise<void>;
}

const DEFAULT_NODES: readonly NodeSpec[] = [
  { hostname: 'node-1', cores: 16, gpus: { name: 'NVIDIA GeForce RTX 4090', vramMib: 24_564, count: 2 } },
  { hostname: 'node-2', cores: 32, gpus: { name: 'NVIDIA A100-SXM4-80GB', vramMib: 81_920, count: 4 } },
  { hostname: 'node-3', cores: 8 },
];

const BROKEN_ENVIRONMENTS: Readonly<Record<string, Environment>> = {
  broken: 'broken-tarball',
  'no-manager': 'no-package-manager',
};

// finer than what a VPS takes to start, so that with a clock that runs by itself things happen when they are due
const SETTLE_EVERY_MS = 20;

/** A HakuRiver cluster on loopback: Host, SSH proxy and Runners over real sockets, a real SSH server a VPS, and a control port beside it. */
export async function startHakuRiverEmulator(options: HakuRiverEmulatorOptions): Promise<HakuRiverEmulator> {
  const clock = createEmulatorClock(options.clock, options.speed);
  let site = await buildSite(options, clock, options.seed);
  const openHost = async (port: number, proxyPort: number) => ({
    server: await openHttpServer(port, (call) => serveHost(site.service, call)),
    proxy: await openSshProxy(site.service.world, proxyPort),
  });
  let host = await openHost(options.port ?? 0, options.proxyPort ?? 0);
  const { url, port } = host.server;
  const proxyPort = host.proxy.port;

  const stopHost = async () => {
    if (!site.service.world.isHostUp) return;
    site.service.world.isHostUp = false;
    await Promise.all([host.server.close(), host.proxy.close()]);
  };
  const startHost = async () => {
    const { world } = site.service;
    if (world.isHostUp) return;
    host = await openHost(port, proxyPort);
    startHostLife(world);
  };
  const reset = async (seed = options.seed) => {
    await stopHost();
    await closeSite(site);
    site = await buildSite(options, clock, seed);
    site.service.world.isHostUp = false;
    await startHost();
  };
  const controls = forwardTo(() => site.controls);
  const control = await openControlServer(options.controlPort ?? 0, controlRoutes(controls, { reset, stopHost, startHost }));
  const ticker = setInterval(() => site.service.world.agenda.settle(), SETTLE_EVERY_MS);
  ticker.unref();
  return {
    ...controls,
    url,
    proxyPort,
    controlUrl: control.url,
    dialect: site.service.world.dialect,
    tokens: site.service.tokens,
    stopHost,
    startHost,
    async restartHost() {
      await stopHost();
      await startHost();
    },
    reset,
    async close() {
      clearInterval(ticker);
      await Promise.all([stopHost(), control.close(), closeSite(site)]);
    },
  };
}

interface Site {
  readonly service: Service;
  readonly controls: ClusterControls;
  readonly close: AbortController;
}

async function buildSite(options: HakuRiverEmulatorOptions, clock: EmulatorClock, seed: number): Promise<Site> {
  const close = new AbortController();
  const world = buildWorld(options, { clock, seed, closing: close.signal });
  const tokens =
    options.auth === true ? { viewer: `viewer-${seed}`, user: `user-${seed}`, operator: `operator-${seed}` } : undefined;
  const service = {
    world,
    clock,
    routes: createHostRoutes(world.dialect),
    tokens,
    faults: createFaultQueue(),
    log: createRequestLog(),
  };
  const serve = (node: Parameters<typeof serveRunner>[1], call: Parameters<typeof serveRunner>[2]) =>
    serveRunner(service, node, call);
  startHostLife(world);
  for (const spec of options.nodes ?? DEFAULT_NODES) await addNode(world, spec, serve);
  return { service, controls: createClusterControls({ ...service, serveRunner: serve }), close };
}

function buildWorld(
  { dialect = 'P', mode = 'lenient', scenario = 'calm', ...options }: HakuRiverEmulatorOptions,
  { clock, seed, closing }: { clock: EmulatorClock; seed: number; closing: AbortSignal },
): World {
  const facts = DIALECTS[dialect];
  const agenda = createAgenda(() => clock.now());
  const environments = { [facts.defaultEnvironment]: 'works', ...BROKEN_ENVIRONMENTS, ...options.environments } as const;
  return {
    dialect,
    facts,
    mode,
    agenda,
    sleep: (ms, signal) => clock.sleep(ms, signal),
    closing,
    random: seededRandom(seed),
    knobs: Knobs.parse({ ...SCENARIOS[scenario], ...options.knobs }),
    environments: new Map(Object.entries(environments)),
    nodes: new Map(),
    tasks: new Map(),
    containers: [],
    tunnels: new Set(),
    isHostUp: false,
    hostLife: 0,
    hostStartedAt: clock.now(),
    nextId: createSnowflakes(() => agenda.now()),
    now: () => agenda.now(),
  };
}

async function closeSite({ service: { world }, close }: Site): Promise<void> {
  world.agenda.clear();
  close.abort();
  await Promise.all([
    ...[...world.nodes.values()].map((node) => killRunner(node)),
    ...world.containers.map(async ({ ssh }) => ssh?.close()),
  ]);
}

/** Methods that stay valid over a reset. */
function forwardTo(current: () => ClusterControls): ClusterControls {
  return {
    injectFault: (fault) => current().injectFault(fault),
    clearFaults: () => current().clearFaults(),
    advance: (ms) => current().advance(ms),
    scenario: (name) => current().scenario(name),
    setKnobs: (knobs) => current().setKnobs(knobs),
    plant: (planted) => current().plant(planted),
    addNode: (spec) => current().addNode(spec),
    killRunner: (hostname) => current().killRunner(hostname),
    returnRunner: (hostname) => current().returnRunner(hostname),
    cutOff: (hostname) => current().cutOff(hostname),
    reconnect: (hostname) => current().reconnect(hostname),
    rebootNode: (hostname) => current().rebootNode(hostname),
    restartContainer: (taskId) => current().restartContainer(taskId),
    stopContainer: (taskId) => current().stopContainer(taskId),
    removeContainer: (taskId) => current().removeContainer(taskId),
    freezeContainer: (taskId) => current().freezeContainer(taskId),
    takePort: (fromTaskId, byTaskId) => current().takePort(fromTaskId, byTaskId),
    occupy: (hostname, what) => current().occupy(hostname, what),
    vacate: (hostname) => current().vacate(hostname),
    setStatus: (taskId, status) => current().setStatus(taskId, status),
    ledger: () => current().ledger(),
    livingWithTag: (tag) => current().livingWithTag(tag),
    startingWithTag: (tag) => current().startingWithTag(tag),
    leakedTunnels: () => current().leakedTunnels(),
    requests: () => current().requests(),
  };
}
