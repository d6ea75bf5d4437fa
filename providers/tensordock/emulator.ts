import type { Clock } from '../../src/core/clock.ts';
import { seededRandom } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { createAgenda } from '../../test/emulators/kit/agenda.ts';
import { openControlServer } from '../../test/emulators/kit/control-server.ts';
import { createEmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import type { EmulatorClock } from '../../test/emulators/kit/emulator-clock.ts';
import { createFaultQueue } from '../../test/emulators/kit/fault.ts';
import { openHttpServer } from '../../test/emulators/kit/http-server.ts';
import { createLedger } from '../../test/emulators/kit/ledger.ts';
import { createRequestLog } from '../../test/emulators/kit/request-log.ts';
import { createKeyRing } from '../../test/emulators/tensordock/auth.ts';
import { planEmpty } from '../../test/emulators/tensordock/billing.ts';
import { controlRoutes, createAccountControls } from '../../test/emulators/tensordock/controls.ts';
import type { AccountControls } from '../../test/emulators/tensordock/controls.ts';
import { createInventory, uuidFrom } from '../../test/emulators/tensordock/inventory.ts';
import { Knobs, SCENARIOS } from '../../test/emulators/tensordock/knobs.ts';
import { stopAllForCredit } from '../../test/emulators/tensordock/lifecycle.ts';
import { createLimiter } from '../../test/emulators/tensordock/limits.ts';
import { plantVm } from '../../test/emulators/tensordock/plant.ts';
import { LIKELY_SHAPES, spinShapes } from '../../test/emulators/tensordock/shapes.ts';
import type { Shapes } from '../../test/emulators/tensordock/shapes.ts';
import { serve } from '../../test/emulators/tensordock/vendor-api.ts';
import type { Service } from '../../test/emulators/tensordock/vendor-api.ts';
import type { World } from '../../test/emulators/tensordock/world.ts';

export interface TensorDockEmulatorOptions {
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
  /** Pairs of location and GPU model in the inventory, at least. */
  readonly offers?: number;
  /** `calm` (no accidents), `default` or `stress`. */
  readonly scenario?: string;
  readonly knobs?: Partial<Knobs>;
  readonly creditUsd?: number;
  /** How many of its milliseconds pass in one of the clock's. */
  readonly speed?: number;
}

export interface TensorDockEmulator extends AccountControls {
  /** Where both APIs are; v2 is under `/api/v2`. */
  readonly url: string;
  readonly controlUrl: string;
  readonly apiToken: string;
  /** The UUID that looks like a credential and opens nothing by itself. */
  readonly authorizationId: string;
  readonly shapes: Shapes;
  /** Everything anew, on the same ports; another seed gives another inventory. */
  reset(seed?: number): Promise<void>;
  close(): Promise<void>;
}

const DEFAULT_OFFERS = 20;
const DEFAULT_CREDIT_USD = 100;
const SETTLE_EVERY_MS = 1_000;

/** TensorDock over HTTP on loopback, stateful and as unreliable as its reputation; with a real SSH server an instance and a control port beside it. */
export async function startTensorDockEmulator(options: TensorDockEmulatorOptions): Promise<TensorDockEmulator> {
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
  const { apiToken, authorizationId } = site.service.keyRing;
  return {
    ...controls,
    url: server.url,
    controlUrl: control.url,
    apiToken,
    authorizationId,
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

function buildSite(options: TensorDockEmulatorOptions, clock: EmulatorClock, seed: number): Site {
  const world = buildWorld(options, clock, seed);
  const keyRing = createKeyRing({
    apiToken: `tensordock-emulated-token-${options.seed}`,
    authorizationId: uuidFrom(seededRandom(options.seed)),
  });
  const faults = createFaultQueue();
  const log = createRequestLog();
  const service = { world, clock, keyRing, limiter: createLimiter(world), faults, log };
  const plant = (name: string) => plantVm(world, name);
  return { service, controls: createAccountControls({ world, clock, keyRing, faults, log, plant }) };
}

function buildWorld(options: TensorDockEmulatorOptions, clock: EmulatorClock, seed: number): World {
  const { mode, roulette = false, offers = DEFAULT_OFFERS, creditUsd = DEFAULT_CREDIT_USD, scenario = 'calm' } = options;
  const agenda = createAgenda(() => clock.now());
  const ledger = createLedger(() => agenda.now(), ['gpu', 'compute', 'storage'] as const);
  let paidUsd = creditUsd;
  const shapes = { ...(roulette ? spinShapes(seededRandom(seed ^ 0x5eed)) : LIKELY_SHAPES), ...options.shapes };
  const ids = seededRandom(seed ^ 0x1d5);
  const world: World = {
    mode,
    agenda,
    random: seededRandom(seed),
    knobs: Knobs.parse({ ...SCENARIOS[scenario], ...options.knobs }),
    shapes,
    inventory: createInventory({ random: seededRandom(seed ^ 0xa5c), offers, now: clock.now() }),
    ledger,
    account: {
      credit: () => paidUsd - ledger.totalUsd(),
      setCredit(usd) {
        paidUsd = usd + ledger.totalUsd();
        planEmpty(world);
      },
      runOut: () => stopAllForCredit(world),
    },
    vms: new Map(),
    secrets: new Map(),
    nextId: () => spelledId(ids, shapes),
    now: () => agenda.now(),
  };
  return world;
}

function spelledId(random: Random, { id }: Shapes): string {
  const uuid = uuidFrom(random);
  if (id === 'uuid') return uuid;
  return id === 'upper' ? uuid.toUpperCase() : uuid.replaceAll('-', '');
}

async function closeWorld(world: World): Promise<void> {
  world.agenda.clear();
  await Promise.all([...world.vms.values()].map(async ({ ssh }) => ssh?.close()));
}

/** Methods that stay valid over a reset. */
function forwardTo(current: () => AccountControls): AccountControls {
  return {
    injectFault: (fault) => current().injectFault(fault),
    clearFaults: () => current().clearFaults(),
    advance: (ms) => current().advance(ms),
    scenario: (name) => current().scenario(name),
    setKnobs: (knobs) => current().setKnobs(knobs),
    preempt: (id, how) => current().preempt(id, how),
    goOffline: (id, how) => current().goOffline(id, how),
    stopByItself: (id) => current().stopByItself(id),
    occupy: (id) => current().occupy(id),
    vacate: (id) => current().vacate(id),
    leaveGpus: (v0Name, count) => current().leaveGpus(v0Name, count),
    setCredit: (usd) => current().setCredit(usd),
    revokeKey: (token) => current().revokeKey(token),
    restoreKey: (token) => current().restoreKey(token),
    addKey: () => current().addKey(),
    plant: (name) => current().plant(name),
    ledger: () => current().ledger(),
    secondsOf: (id) => current().secondsOf(id),
    requests: () => current().requests(),
    instances: () => current().instances(),
    truth: (name) => current().truth(name),
    offers: () => current().offers(),
  };
}
