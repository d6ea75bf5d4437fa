import type { Clock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import { createAgenda } from '../../test/emulators/kit/agenda.ts';
import { openControlServer } from '../../test/emulators/kit/control-server.ts';
import { createEmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import type { EmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import { createFaultQueue } from '../../test/emulators/kit/fault.ts';
import { openHttpServer } from '../../test/emulators/kit/http-server.ts';
import { createRequestLog } from '../../test/emulators/kit/request-log.ts';
import { createKeyRing } from '../../test/emulators/vastai/auth.ts';
import { controlRoutes, createAccountControls } from '../../test/emulators/vastai/controls.ts';
import type { AccountControls } from '../../test/emulators/vastai/controls.ts';
import { createFromAsk } from '../../test/emulators/vastai/create.ts';
import { Knobs, LIKELY_SHAPES, SCENARIOS, spinShapes } from '../../test/emulators/vastai/knobs.ts';
import type { Shapes } from '../../test/emulators/vastai/knobs.ts';
import { createLedger } from '../../test/emulators/vastai/ledger.ts';
import { planEmpty } from '../../test/emulators/vastai/lifecycle.ts';
import { createLimiter } from '../../test/emulators/vastai/limits.ts';
import { createMarket } from '../../test/emulators/vastai/market.ts';
import { createRoutes } from '../../test/emulators/vastai/routes.ts';
import { serve } from '../../test/emulators/vastai/vendor-api.ts';
import type { Service } from '../../test/emulators/vastai/vendor-api.ts';
import type { World } from '../../test/emulators/vastai/world.ts';

export interface VastEmulatorOptions {
  readonly clock: Clock;
  readonly seed: number;
  /** 0 or absent: a free one. */
  readonly port?: number;
  readonly controlPort?: number;
  /** `strict` refuses names of fields and parameters that the vendor would ignore. */
  readonly mode: 'strict' | 'lenient';
  /** Where the sources conflict: a reading by seed. Otherwise the likely one. */
  readonly roulette?: boolean;
  /** Readings that hold whatever the roulette says. */
  readonly shapes?: Partial<Shapes>;
  /** Rows of an unfiltered search, at least. */
  readonly offers?: number;
  /** `calm` (no accidents), `default` or `stress`. */
  readonly scenario?: string;
  readonly knobs?: Partial<Knobs>;
  readonly creditUsd?: number;
  /** How many of its milliseconds pass in one of the clock's. */
  readonly speed?: number;
}

export interface VastEmulator extends AccountControls {
  readonly url: string;
  readonly controlUrl: string;
  readonly apiKey: string;
  readonly shapes: Shapes;
  /** Everything anew, on the same ports; another seed gives another market. */
  reset(seed?: number): Promise<void>;
  close(): Promise<void>;
}

const DEFAULT_OFFERS = 120;
const DEFAULT_CREDIT_USD = 100;
const SETTLE_EVERY_MS = 1_000;

/** Vast.ai over HTTP on loopback, stateful and as unreliable as its reputation; with a real SSH server an instance and a control port beside it. */
export async function startVastEmulator(options: VastEmulatorOptions): Promise<VastEmulator> {
  const clock = createEmulatorClock(options.clock, options.speed);
  let site = buildSite(options, clock, options.seed);
  const server = await openHttpServer(options.port ?? 0, (call) => serve(site.service, call));
  const reset = async (seed = options.seed) => {
    const { world } = site.service;
    site = buildSite(options, clock, seed);
    await closeWorld(world);
  };
  const controls = forwardTo(() => site.controls);
  const control = await openControlServer(options.controlPort ?? 0, controlRoutes(controls, reset));
  // With a clock that runs by itself, what is due happens without anybody looking; a connection of a stopped instance ends.
  const ticker = setInterval(() => site.service.world.agenda.settle(), SETTLE_EVERY_MS);
  ticker.unref();
  return {
    ...controls,
    url: server.url,
    controlUrl: control.url,
    apiKey: site.service.keyRing.apiKey,
    get shapes() {
      return site.service.world.shapes;
    },
    reset,
    async close() {
      clearInterval(ticker);
      await Promise.all([server.close(), control.close(), closeWorld(site.service.world)]);
    },
  };
}

interface Site {
  readonly service: Service;
  readonly controls: AccountControls;
}

function buildSite(options: VastEmulatorOptions, clock: EmulatorClock, seed: number): Site {
  const world = buildWorld(options, clock, seed);
  const limiter = createLimiter(world);
  const keyRing = createKeyRing(`vast-emulated-key-${options.seed}`);
  const faults = createFaultQueue();
  const log = createRequestLog();
  const service = { world, clock, keyRing, limiter, routes: createRoutes(limiter), faults, log };
  const plant = (label: string | null) => plantContract(world, label);
  return { service, controls: createAccountControls({ world, clock, keyRing, faults, log, plant }) };
}

function buildWorld(options: VastEmulatorOptions, clock: EmulatorClock, seed: number): World {
  const { mode, roulette = false, offers = DEFAULT_OFFERS, creditUsd = DEFAULT_CREDIT_USD, scenario = 'calm' } = options;
  const random = seededRandom(seed);
  const agenda = createAgenda(() => clock.now());
  const ledger = createLedger(() => agenda.now());
  let paidUsd = creditUsd;
  let lastId = 33_000_000 + Math.floor(random.next() * 900_000);
  const shapes = { ...(roulette ? spinShapes(seededRandom(seed ^ 0x5eed)) : LIKELY_SHAPES), ...options.shapes };
  const world: World = {
    mode,
    agenda,
    random,
    knobs: Knobs.parse({ ...SCENARIOS[scenario], ...options.knobs }),
    shapes,
    market: createMarket({ random: seededRandom(seed ^ 0xa5c), offers, now: clock.now() }),
    ledger,
    account: {
      userId: 501_234,
      keys: [],
      credit: () => paidUsd - ledger.totalUsd(),
      setCredit(usd) {
        paidUsd = usd + ledger.totalUsd();
        planEmpty(world);
      },
    },
    contracts: new Map(),
    priceRises: [],
    webhooks: [],
    nextId: () => (lastId += 1 + Math.floor(random.next() * 30)),
    now: () => agenda.now(),
  };
  return world;
}

async function closeWorld(world: World): Promise<void> {
  world.agenda.clear();
  await Promise.all([...world.contracts.values()].map(async ({ ssh }) => ssh?.close()));
}

/** Somebody's instance on the cheapest slice there is, made without the API. */
async function plantContract(world: World, label: string | null): Promise<number> {
  for (const ask of world.market.asks()) {
    if (ask.gpus.length > 1 || ask.gpus.some((index) => ask.machine.holders[index]?.kind !== 'free')) continue;
    const before = new Set(world.contracts.keys());
    const call = { method: 'PUT', path: '', query: new URLSearchParams(), headers: {}, text: '', remoteAddress: '' };
    const body = { image: 'ubuntu:24.04', disk: 10, label, runtype: 'ssh_direct' };
    await createFromAsk({ world, call, identity: { kind: 'nobody' }, params: [String(ask.id)], body, outcome: undefined });
    const planted = [...world.contracts.keys()].find((id) => !before.has(id));
    if (planted !== undefined) return planted;
  }
  throw new Error('the market has no free slice to plant an instance on');
}

/** Methods that stay valid over a reset. */
function forwardTo(current: () => AccountControls): AccountControls {
  return {
    injectFault: (fault) => current().injectFault(fault),
    clearFaults: () => current().clearFaults(),
    advance: (ms) => current().advance(ms),
    scenario: (name) => current().scenario(name),
    setKnobs: (knobs) => current().setKnobs(knobs),
    preempt: (contractId, how) => current().preempt(contractId, how),
    goOffline: (contractId, status) => current().goOffline(contractId, status),
    occupy: (contractId) => current().occupy(contractId),
    queueStart: (contractId) => current().queueStart(contractId),
    vacate: (contractId) => current().vacate(contractId),
    proposePriceRise: (contractId, factor) => current().proposePriceRise(contractId, factor),
    setCredit: (usd) => current().setCredit(usd),
    revokeKey: (key) => current().revokeKey(key),
    restoreKey: (key) => current().restoreKey(key),
    addKey: (scopes) => current().addKey(scopes),
    plant: (label) => current().plant(label),
    ledger: () => current().ledger(),
    secondsOf: (contractId) => current().secondsOf(contractId),
    requests: () => current().requests(),
    instances: () => current().instances(),
    offers: (type) => current().offers(type),
  };
}
