import { z } from 'zod';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { FaultInput, FaultQueue } from '../kit/fault.ts';
import type { LedgerAccount } from '../kit/ledger.ts';
import type { LoggedRequest, RequestLog } from '../kit/request-log.ts';
import type { KeyRing } from './auth.ts';
import { roomOf } from './capacity.ts';
import { Knobs, SCENARIOS } from './knobs.ts';
import { die, reclaim, stop, stopAllForCredit } from './lifecycle.ts';
import { vmRow } from './wire.ts';
import { aliveVm } from './world.ts';
import type { BillPart, Vm, World } from './world.ts';

export type Account = LedgerAccount<BillPart>;

/** What stands behind the vendor's back: the hand of a test. The same by method and over the control port. */
export interface AccountControls {
  injectFault(fault: FaultInput): void;
  /** Takes back all faults that still wait for a call. */
  clearFaults(): void;
  /** Moves the vendor's time. */
  advance(ms: number): void;
  /** Sets the knobs of a named scenario, or some knobs on top of what is set. */
  scenario(name: string): void;
  setKnobs(knobs: z.input<typeof Knobs>): void;
  /** The host takes the GPU back. It can be started again after `freeAfterMs`, or after `vacate`. */
  preempt(id: string, how?: { as?: 'stoppeddisassociated' | 'outbid'; freeAfterMs?: number }): void;
  /** It breaks: told as an error, moving to another host, or not told at all. */
  goOffline(id: string, how?: 'error' | 'relocating' | 'silent'): void;
  /** It stops by itself, as if somebody had asked. */
  stopByItself(id: string): void;
  /** Strangers take what is free on its host, or give it back. */
  occupy(id: string): void;
  vacate(id: string): void;
  /** Leaves so many GPUs on all hosts of a model together, by the vendor's name of it. */
  leaveGpus(v0Name: string, count: number): void;
  setCredit(usd: number): void;
  revokeKey(token: string): void;
  restoreKey(token: string): void;
  addKey(): string;
  /** A virtual machine that the client never asked for; its id. */
  plant(name: string): Promise<string>;
  ledger(): readonly Account[];
  secondsOf(id: string): readonly { readonly at: number; readonly totalUsd: number }[];
  requests(): readonly LoggedRequest[];
  /** All virtual machines that ever were, as the vendor sees them. */
  instances(): readonly InstanceView[];
  /** What there is in truth under a name, and what all of it cost. */
  truth(name: string): {
    readonly instances: readonly InstanceView[];
    readonly alive: number;
    readonly billed: number;
    readonly totalUsd: number;
  };
  /** What is really free, whatever the inventory shows. */
  offers(): readonly { readonly nodeId: string; readonly locationId: string; readonly v0Name: string; readonly gpus: number }[];
}

export interface InstanceView {
  readonly id: string;
  readonly name: string;
  readonly nodeId: string;
  readonly phase: Vm['phase'];
  readonly isAlive: boolean;
  readonly authorizedKeys: { readonly user: readonly string[]; readonly root: readonly string[] };
  readonly ssh: { readonly host: string; readonly port: number } | undefined;
  readonly row: Record<string, unknown>;
}

interface ControlDeps {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly keyRing: KeyRing;
  readonly faults: FaultQueue;
  readonly log: RequestLog;
  readonly plant: (name: string) => Promise<string>;
}

export function createAccountControls({ world, clock, keyRing, faults, log, plant }: ControlDeps): AccountControls {
  const vmOf = (id: string): Vm => {
    world.agenda.settle();
    const vm = aliveVm(world, id);
    if (vm === undefined) throw new Error(`there is no instance ${id}`);
    return vm;
  };
  const setKnobs = (knobs: z.input<typeof Knobs>, base: z.input<typeof Knobs> = world.knobs) => {
    world.knobs = Knobs.parse({ ...base, ...knobs });
  };
  const views = () => {
    world.agenda.settle();
    return [...world.vms.values()].map((vm) => viewOf(world, vm));
  };
  const free = (vm: Vm) => (vm.node.strangerGpus = Math.max(0, vm.node.strangerGpus - vm.gpus));
  return {
    injectFault: (fault) => faults.inject(fault),
    clearFaults: () => faults.clear(),
    advance(ms) {
      clock.advance(ms);
      world.agenda.settle();
    },
    scenario(name) {
      const knobs = SCENARIOS[name];
      if (knobs === undefined) throw new Error(`there is no scenario ${name}: ${Object.keys(SCENARIOS).join(', ')}`);
      setKnobs(knobs, {});
    },
    setKnobs: (knobs) => setKnobs(knobs),
    preempt(id, { as = 'stoppeddisassociated', freeAfterMs } = {}) {
      const vm = vmOf(id);
      reclaim(world, vm, as === 'outbid' ? 'outbid' : 'reclaimed');
      if (freeAfterMs !== undefined) world.agenda.at(world.now() + freeAfterMs, () => free(vm));
    },
    goOffline: (id, how = 'error') => die(world, vmOf(id), how),
    stopByItself: (id) => stop(world, vmOf(id)),
    occupy(id) {
      const { node } = vmOf(id);
      node.strangerGpus += Math.max(0, roomOf(world, node).gpus);
    },
    vacate: (id) => void free(vmOf(id)),
    leaveGpus(v0Name, count) {
      let left = count;
      for (const node of world.inventory.nodes.filter(({ gpu }) => gpu.v0Name === v0Name)) {
        node.strangerGpus = 0;
        const room = roomOf(world, node).gpus;
        const kept = Math.min(left, room);
        node.strangerGpus = room - kept;
        left -= kept;
      }
    },
    setCredit(usd) {
      world.agenda.settle();
      world.account.setCredit(usd);
      if (usd <= 0) stopAllForCredit(world);
    },
    revokeKey: (token) => keyRing.revoke(token),
    restoreKey: (token) => keyRing.restore(token),
    addKey: () => keyRing.addKey(),
    plant,
    ledger() {
      world.agenda.settle();
      return world.ledger.accounts();
    },
    secondsOf(id) {
      world.agenda.settle();
      return world.ledger.seconds(id);
    },
    requests: () => log.all(),
    instances: views,
    truth(name) {
      const instances = views().filter((each) => each.name === name);
      const accounts = world.ledger.accounts().filter((each) => each.name === name);
      return {
        instances,
        alive: instances.filter(({ isAlive }) => isAlive).length,
        billed: accounts.filter(({ closedAt }) => closedAt === undefined).length,
        totalUsd: accounts.reduce((sum, { totalUsd }) => sum + totalUsd, 0),
      };
    },
    offers: () =>
      world.inventory.nodes.map((node) => ({
        nodeId: node.id,
        locationId: node.location.id,
        v0Name: node.gpu.v0Name,
        gpus: roomOf(world, node).gpus,
      })),
  };
}

function viewOf(world: World, vm: Vm): InstanceView {
  const { id, name, node, phase, keys, ssh, isDedicated } = vm;
  return {
    id,
    name,
    nodeId: node.id,
    phase,
    isAlive: vm.deletedAt === undefined,
    authorizedKeys: { user: [...keys.user], root: [...keys.root] },
    ssh: isDedicated ? ssh?.places.direct : ssh?.places.proxy,
    row: vmRow(world, vm),
  };
}

const OfInstance = z.object({ id: z.string() });

/** The same over HTTP. */
export function controlRoutes(controls: AccountControls, reset: (seed: number | undefined) => Promise<void>) {
  const idIn = (body: unknown) => OfInstance.parse(body).id;
  const tokenIn = (body: unknown) => z.object({ token: z.string() }).parse(body).token;
  return {
    'POST /reset': (body: unknown) => reset(z.strictObject({ seed: z.int().optional() }).parse(body).seed),
    'POST /scenario': (body: unknown) => controls.scenario(z.strictObject({ name: z.string() }).parse(body).name),
    'POST /knobs': (body: unknown) => controls.setKnobs(z.record(z.string(), z.unknown()).parse(body)),
    'POST /advance': (body: unknown) => controls.advance(z.strictObject({ ms: z.number() }).parse(body).ms),
    // the queue parses what it is given
    'POST /faults': (body: unknown) => controls.injectFault(body as FaultInput),
    'POST /faults/clear': () => controls.clearFaults(),
    'POST /preempt': (body: unknown) => {
      const { id, as, freeAfterMs } = OfInstance.extend({
        as: z.enum(['stoppeddisassociated', 'outbid']).optional(),
        freeAfterMs: z.number().optional(),
      }).parse(body);
      controls.preempt(id, { ...(as !== undefined && { as }), ...(freeAfterMs !== undefined && { freeAfterMs }) });
    },
    'POST /offline': (body: unknown) => {
      const { id, how } = OfInstance.extend({ how: z.enum(['error', 'relocating', 'silent']).optional() }).parse(body);
      controls.goOffline(id, how);
    },
    'POST /stop': (body: unknown) => controls.stopByItself(idIn(body)),
    'POST /occupy': (body: unknown) => controls.occupy(idIn(body)),
    'POST /vacate': (body: unknown) => controls.vacate(idIn(body)),
    'POST /gpus': (body: unknown) => {
      const { v0Name, count } = z.strictObject({ v0Name: z.string(), count: z.int().min(0) }).parse(body);
      controls.leaveGpus(v0Name, count);
    },
    'POST /credit': (body: unknown) => controls.setCredit(z.strictObject({ usd: z.number() }).parse(body).usd),
    'POST /keys': () => ({ token: controls.addKey() }),
    'POST /keys/revoke': (body: unknown) => controls.revokeKey(tokenIn(body)),
    'POST /keys/restore': (body: unknown) => controls.restoreKey(tokenIn(body)),
    'POST /plant': async (body: unknown) => ({ id: await controls.plant(z.object({ name: z.string() }).parse(body).name) }),
    'GET /ledger': () => controls.ledger(),
    'GET /ledger/seconds': (_body: unknown, query: URLSearchParams) => controls.secondsOf(query.get('id') ?? ''),
    'GET /requests': () => controls.requests(),
    'GET /instances': () => controls.instances(),
    'GET /truth': (_body: unknown, query: URLSearchParams) => controls.truth(query.get('name') ?? ''),
    'GET /offers': () => controls.offers(),
  };
}
