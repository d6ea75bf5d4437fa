import { z } from 'zod';
import type { EmulatorClock } from '../kit/emulator-clock.ts';
import type { FaultInput, FaultQueue } from '../kit/fault.ts';
import type { LoggedRequest, RequestLog } from '../kit/request-log.ts';
import type { KeyRing } from './auth.ts';
import { instanceRow } from './instance-row.ts';
import { Knobs, SCENARIOS } from './knobs.ts';
import { perSecond } from './ledger.ts';
import type { LedgerAccount } from './ledger.ts';
import { goOffline, startQueued, stop, stopAllForCredit } from './lifecycle.ts';
import type { Machine } from './market.ts';
import { offerRow } from './offer-row.ts';
import { moveStandingBid } from './spot.ts';
import { aliveContract } from './world.ts';
import type { Contract, World } from './world.ts';

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
  /** A bid is outbid, in the asked picture; a contract on demand is stopped by its host. It resumes by itself after `resumeAfterMs`. */
  preempt(contractId: number, how?: { picture?: 'a' | 'b'; resumeAfterMs?: number }): void;
  /** The host of a contract is not heard any more. */
  goOffline(contractId: number, status?: 'offline' | 'unknown'): void;
  /** Strangers take the free GPUs of a contract's slice, or give them back. */
  occupy(contractId: number): void;
  vacate(contractId: number): void;
  /** Its host stops it, strangers take its GPUs, and somebody starts it again by hand: the start waits until they leave. */
  queueStart(contractId: number): void;
  proposePriceRise(contractId: number, factor: number): void;
  setCredit(usd: number): void;
  revokeKey(key: string): void;
  restoreKey(key: string): void;
  addKey(scopes: readonly string[]): string;
  /** A contract that the client never asked for. */
  plant(label: string | null): Promise<number>;
  ledger(): readonly LedgerAccount[];
  secondsOf(contractId: number): ReturnType<typeof perSecond>;
  requests(): readonly LoggedRequest[];
  /** All contracts that ever were, as the vendor sees them. */
  instances(): readonly InstanceView[];
  offers(type?: 'on-demand' | 'bid'): readonly Record<string, unknown>[];
}

export interface InstanceView {
  readonly id: number;
  readonly label: string | null;
  readonly machineId: number;
  readonly phase: Contract['phase'];
  readonly isAlive: boolean;
  readonly authorizedKeys: readonly string[];
  readonly sshPorts: { readonly proxy: number; readonly direct: number } | undefined;
  readonly row: Record<string, unknown>;
}

interface ControlDeps {
  readonly world: World;
  readonly clock: EmulatorClock;
  readonly keyRing: KeyRing;
  readonly faults: FaultQueue;
  readonly log: RequestLog;
  readonly plant: (label: string | null) => Promise<number>;
}

export function createAccountControls({ world, clock, keyRing, faults, log, plant }: ControlDeps): AccountControls {
  const contractOf = (id: number): Contract => {
    world.agenda.settle();
    const contract = aliveContract(world, id);
    if (contract === undefined) throw new Error(`there is no instance ${id}`);
    return contract;
  };
  const setKnobs = (knobs: z.input<typeof Knobs>, base: z.input<typeof Knobs> = world.knobs) => {
    world.knobs = Knobs.parse({ ...base, ...knobs });
  };
  const freeAnd = (machine: Machine, gpus: readonly number[], from: 'free' | 'stranger') =>
    gpus.filter((index) => machine.holders[index]?.kind === from);
  const occupy = ({ machine, gpus }: Contract) =>
    world.market.hold(machine, freeAnd(machine, gpus, 'free'), { kind: 'stranger', isBid: false });
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
    preempt(contractId, { picture = world.shapes.preemption, resumeAfterMs } = {}) {
      const contract = contractOf(contractId);
      if (!contract.isBid) return stop(world, contract);
      const { machine } = contract;
      moveStandingBid(world, machine, (contract.gpuPerHour / contract.gpus.length) * 1.1, picture);
      if (resumeAfterMs !== undefined) world.agenda.at(world.now() + resumeAfterMs, () => moveStandingBid(world, machine, 0));
    },
    goOffline: (contractId, status) => goOffline(world, contractOf(contractId), status),
    occupy: (contractId) => occupy(contractOf(contractId)),
    queueStart(contractId) {
      const contract = contractOf(contractId);
      stop(world, contract);
      occupy(contract);
      contract.intended = 'running';
      contract.isQueued = true;
    },
    vacate(contractId) {
      const { machine, gpus } = contractOf(contractId);
      world.market.hold(machine, freeAnd(machine, gpus, 'stranger'), { kind: 'free' });
      startQueued(world);
    },
    proposePriceRise(contractId, factor) {
      contractOf(contractId);
      world.priceRises.push({ id: world.nextId(), contractId, factor, createdAt: world.now() });
    },
    setCredit(usd) {
      world.agenda.settle();
      world.account.setCredit(usd);
      if (usd <= 0) stopAllForCredit(world);
    },
    revokeKey: (key) => keyRing.revoke(key),
    restoreKey: (key) => keyRing.restore(key),
    addKey: (scopes) => keyRing.addKey(scopes),
    plant,
    ledger() {
      world.agenda.settle();
      return world.ledger.accounts();
    },
    secondsOf(contractId) {
      world.agenda.settle();
      const account = world.ledger.account(contractId);
      if (account === undefined) throw new Error(`there was never an instance ${contractId}`);
      return perSecond(world.ledger, account, world.now());
    },
    requests: () => log.all(),
    instances() {
      world.agenda.settle();
      return [...world.contracts.values()].map((contract) => ({
        id: contract.id,
        label: contract.label,
        machineId: contract.machine.id,
        phase: contract.phase,
        isAlive: contract.destroyedAt === undefined,
        authorizedKeys: [...contract.authorizedKeys],
        sshPorts: contract.ssh?.ports,
        row: instanceRow(world, contract),
      }));
    },
    offers: (type = 'on-demand') => [...world.market.asks()].map((ask) => offerRow(world, ask, type, 8)),
  };
}

const ContractId = z.object({ contractId: z.int() });

/** The same over HTTP. */
export function controlRoutes(controls: AccountControls, reset: (seed: number | undefined) => Promise<void>) {
  return {
    'POST /reset': (body: unknown) => reset(z.strictObject({ seed: z.int().optional() }).parse(body).seed),
    'POST /scenario': (body: unknown) => controls.scenario(z.strictObject({ name: z.string() }).parse(body).name),
    'POST /knobs': (body: unknown) => controls.setKnobs(z.record(z.string(), z.unknown()).parse(body)),
    'POST /advance': (body: unknown) => controls.advance(z.strictObject({ ms: z.number() }).parse(body).ms),
    // the queue parses what it is given
    'POST /faults': (body: unknown) => controls.injectFault(body as FaultInput),
    'POST /faults/clear': () => controls.clearFaults(),
    'POST /preempt': (body: unknown) => {
      const { contractId, picture, resumeAfterMs } = ContractId.extend({
        picture: z.enum(['a', 'b']).optional(),
        resumeAfterMs: z.number().optional(),
      }).parse(body);
      controls.preempt(contractId, {
        ...(picture !== undefined && { picture }),
        ...(resumeAfterMs !== undefined && { resumeAfterMs }),
      });
    },
    'POST /offline': (body: unknown) => controls.goOffline(ContractId.parse(body).contractId),
    'POST /occupy': (body: unknown) => controls.occupy(ContractId.parse(body).contractId),
    'POST /vacate': (body: unknown) => controls.vacate(ContractId.parse(body).contractId),
    'POST /queue-start': (body: unknown) => controls.queueStart(ContractId.parse(body).contractId),
    'POST /price-rise': (body: unknown) => {
      const { contractId, factor } = ContractId.extend({ factor: z.number() }).parse(body);
      controls.proposePriceRise(contractId, factor);
    },
    'POST /credit': (body: unknown) => controls.setCredit(z.strictObject({ usd: z.number() }).parse(body).usd),
    'POST /keys': (body: unknown) => ({ key: controls.addKey(z.object({ scopes: z.array(z.string()) }).parse(body).scopes) }),
    'POST /keys/revoke': (body: unknown) => controls.revokeKey(z.object({ key: z.string() }).parse(body).key),
    'POST /keys/restore': (body: unknown) => controls.restoreKey(z.object({ key: z.string() }).parse(body).key),
    'POST /plant': async (body: unknown) => ({
      contractId: await controls.plant(z.object({ label: z.string().nullable() }).parse(body).label),
    }),
    'GET /ledger': () => controls.ledger(),
    'GET /ledger/seconds': (_body: unknown, query: URLSearchParams) => controls.secondsOf(Number(query.get('contract'))),
    'GET /requests': () => controls.requests(),
    'GET /instances': () => controls.instances(),
    'GET /offers': () => controls.offers(),
  };
}
