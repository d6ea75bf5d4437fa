import { describeError } from '../../src/core/errors.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { ProviderDeps } from '../../src/provider/provider-module.ts';
import { startAgenda } from './agenda.ts';
import { applyHandOff } from './authorized-keys.ts';
import { chanceOf } from './chance.ts';
import type { PortRange } from './environment.ts';
import type { FaultDice } from './faults.ts';
import { nextStepAt, phaseAt } from './instance-record.ts';
import type { InstanceRecord, Phase } from './instance-record.ts';
import { viewOf } from './instance-view.ts';
import { openJournal } from './journal.ts';
import { createPortChooser } from './ports.ts';
import type { Load, SimulatedMachine } from './simulated-machine.ts';
import { openSshServer } from './ssh-server.ts';
import type { SshServer } from './ssh-server.ts';

/** The instances of the market and their lives: kept in a file, woken by an agenda, each with its SSH server while it runs. */
export interface Instances {
  /** The number of the next one; never the same twice in a folder. */
  takeOrdinal(): number;
  /** Resolves when it is in the file. */
  add(record: InstanceRecord): Promise<void>;
  get(id: string): Instance | undefined;
  list(): Instance[];
  destroy(id: string): Promise<'destroying' | 'gone'>;
  isHeld(hostIndex: number): boolean;
  close(): Promise<void>;
}

export interface InstancesDeps extends Pick<ProviderDeps, 'clock' | 'random' | 'log'> {
  readonly folder: string;
  readonly seed: number;
  readonly ports: PortRange;
  readonly destroyMs: number;
  readonly dice: FaultDice;
}

interface Entry {
  record: InstanceRecord;
  server?: SshServer | undefined;
  loads: number;
  destroyCalls: number;
}

const REAPPEARS_AFTER_MS = 10 * SECOND_MS;
const RESUMES_AFTER_MS = 30 * SECOND_MS;
const RETRY_MS = SECOND_MS;
const IDLE_STEP_MS = 10 * SECOND_MS;

/** Resolves when every instance that ran before listens again on its port. */
export async function openInstances(deps: InstancesDeps): Promise<Instances> {
  const { clock, random, log, folder, seed, ports, destroyMs, dice } = deps;
  const { journal, records, nextOrdinal } = await openJournal({ folder, log, isOver });
  const entries = new Map<string, Entry>();
  const heldHosts = new Map<number, string>();
  const reservedPorts = new Set<number>();
  const portChooser = createPortChooser({ range: ports, startAt: random.next() });
  let ordinal = nextOrdinal;
  let isClosed = false;

  function isOver(record: InstanceRecord): boolean {
    return record.returnsAt === undefined && phaseAt(record, { now: clock.now(), isOpen: false }) === 'gone';
  }

  for (const record of records) remember(record);
  await Promise.all([...entries.values()].filter(({ record }) => record.port !== undefined).map(reopen));
  const agenda = startAgenda({ clock, handle: step });
  for (const entry of entries.values()) schedule(entry);

  function remember(record: InstanceRecord): Entry {
    const entry: Entry = { record, loads: 0, destroyCalls: 0 };
    entries.set(record.id, entry);
    heldHosts.set(record.hostIndex, record.id);
    if (record.port !== undefined) reservedPorts.add(record.port);
    return entry;
  }

  function phaseOf(entry: Entry): Phase {
    return phaseAt(entry.record, { now: clock.now(), isOpen: entry.server !== undefined });
  }

  function schedule(entry: Entry): void {
    const at = nextStepAt(entry.record, { isOpen: entry.server !== undefined });
    if (at !== undefined) agenda.add(at, entry.record.id);
  }

  /** Does whatever is due for an instance by now; may be called at any time and again. */
  async function step(id: string): Promise<void> {
    const entry = entries.get(id);
    if (entry === undefined || isClosed) return;
    try {
      await doDue(entry);
      if (entries.has(id)) schedule(entry);
    } catch (error) {
      log.error({ instanceId: id, error: describeError(error) }, 'a simulated instance could not go on; it is tried again');
      agenda.add(clock.now() + RETRY_MS, id);
    }
  }

  async function doDue(entry: Entry): Promise<void> {
    const now = clock.now();
    const { record } = entry;
    if (phaseOf(entry) === 'gone') {
      if (record.returnsAt === undefined || record.returnsAt > now)
        return record.returnsAt === undefined ? forget(entry) : undefined;
      await change(entry, { stoppingSince: undefined, goneAt: undefined, returnsAt: undefined, hasReturned: true });
    }
    if (entry.record.stoppingSince !== undefined || entry.record.failure !== undefined) return;
    if (await goOnPausing(entry)) return;
    if (entry.server !== undefined) return;
    if (record.failsAt !== undefined && record.failsAt <= now) {
      return change(entry, { failure: 'the simulated boot failed, as SIMULATED_FAULTS asked' });
    }
    if (record.bootsAt !== undefined && record.bootsAt <= now) await boot(entry);
  }

  /** Whether it is paused now, because somebody bids more; a while later it goes on by itself, and costs again. */
  async function goOnPausing(entry: Entry): Promise<boolean> {
    const { preemptsAt = Infinity, pausedSince, resumesAt = Infinity } = entry.record;
    const now = clock.now();
    if (pausedSince !== undefined && resumesAt <= now) {
      await change(entry, { pausedSince: undefined, resumesAt: undefined });
      return false;
    }
    if (pausedSince !== undefined || preemptsAt > now) return pausedSince !== undefined;
    await change(entry, { preemptsAt: undefined, pausedSince: preemptsAt, resumesAt: preemptsAt + RESUMES_AFTER_MS });
    await closeServer(entry);
    return true;
  }

  async function boot(entry: Entry): Promise<void> {
    if (entry.record.port !== undefined && entry.record.hostKey !== undefined) return reopen(entry);
    const { privateKey, publicKey } = generateSshKeyPair();
    const server = await listenAnywhere(entry, privateKey);
    if (server === undefined) {
      return change(entry, { failure: `no port of SIMULATED_PORTS=${ports.first}-${ports.last} is free for its SSH server` });
    }
    try {
      // In the file before anybody can be told: the port and the key outlive this process.
      await change(entry, { hostKey: { privateKey, publicKey }, port: server.port });
    } catch (error) {
      await server.close();
      throw error;
    }
    await keepWhileWanted(entry, server);
  }

  async function listenAnywhere(entry: Entry, hostKey: string): Promise<SshServer | undefined> {
    for (const port of portChooser.candidates((candidate) => reservedPorts.has(candidate))) {
      reservedPorts.add(port);
      try {
        return await openSshServer({ machine: machineOf(entry), hostKey, port, log });
      } catch (error) {
        reservedPorts.delete(port);
        if (codeOf(error) !== 'EADDRINUSE') throw error;
      }
    }
    return undefined;
  }

  /** On the port that it has been known by, or not at all. */
  async function reopen(entry: Entry): Promise<void> {
    const { port, hostKey } = entry.record;
    if (port === undefined || hostKey === undefined || phaseOf(entry) !== 'starting') return;
    try {
      const server = await openSshServer({ machine: machineOf(entry), hostKey: hostKey.privateKey, port, log });
      await keepWhileWanted(entry, server);
    } catch (error) {
      const why = codeOf(error) === 'EADDRINUSE' ? 'another program has taken it' : describeError(error);
      log.error(
        { instanceId: entry.record.id, port, error: describeError(error) },
        'a simulated SSH server cannot come back on its port',
      );
      await change(entry, { failure: `its SSH server cannot come back on port ${port} of 127.0.0.1: ${why}` });
    }
  }

  /** A destroy or the end of the process may have come while it began to listen. */
  async function keepWhileWanted(entry: Entry, server: SshServer): Promise<void> {
    if (isClosed || !entries.has(entry.record.id) || phaseOf(entry) !== 'starting') await server.close();
    else entry.server = server;
  }

  async function forget(entry: Entry): Promise<void> {
    const { id, hostIndex, port } = entry.record;
    entries.delete(id);
    if (heldHosts.get(hostIndex) === id) heldHosts.delete(hostIndex);
    await closeServer(entry);
    if (port !== undefined) reservedPorts.delete(port);
    await journal.append({ op: 'gone', id });
  }

  async function closeServer(entry: Entry): Promise<void> {
    const { server } = entry;
    entry.server = undefined;
    await server?.close();
  }

  async function change(entry: Entry, fields: Partial<InstanceRecord>): Promise<void> {
    entry.record = { ...entry.record, ...fields };
    const written = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value ?? null]));
    await journal.append({ op: 'change', id: entry.record.id, fields: written });
  }

  function machineOf(entry: Entry): SimulatedMachine {
    return {
      clock,
      record: () => entry.record,
      load: () => loadOf(entry),
      async handOff(handOff) {
        const { text, answer } = applyHandOff(entry.record.authorizedKeys, handOff);
        await change(entry, { authorizedKeys: text });
        return answer;
      },
      beginLoad() {
        entry.loads += 1;
        return () => {
          entry.loads -= 1;
        };
      },
      leaveLoad: (durationMs) => change(entry, { burnsUntil: Math.round(clock.now() + durationMs) }),
    };
  }

  function loadOf({ record, loads }: Entry): Load {
    const now = clock.now();
    const isBusy = loads > 0 || (record.burnsUntil ?? 0) > now;
    const part = chanceOf(seed, 'load', record.ordinal, Math.floor(now / IDLE_STEP_MS));
    const percent = isBusy ? 95 + Math.floor(part * 6) : Math.floor(part * 3);
    return record.gpu === undefined ? { cpuPercent: percent } : { gpuPercent: percent, cpuPercent: isBusy ? 88 : 1 };
  }

  function view(entry: Entry): Instance | undefined {
    return viewOf(entry.record, { phase: phaseOf(entry), load: loadOf(entry), now: clock.now() });
  }

  return {
    takeOrdinal: () => ordinal++,
    async add(record) {
      schedule(remember(record));
      await journal.append({ op: 'create', record });
    },
    get(id) {
      const entry = entries.get(id);
      return entry === undefined ? undefined : view(entry);
    },
    list: () => [...entries.values()].map(view).filter((instance) => instance !== undefined),
    async destroy(id) {
      const entry = entries.get(id);
      if (entry === undefined || phaseOf(entry) === 'gone') return 'gone';
      if (entry.record.stoppingSince !== undefined) return 'destroying';
      entry.destroyCalls += 1;
      if (dice('destroy_lies', entry.record.ordinal, entry.destroyCalls)) return 'destroying';
      const now = clock.now();
      const goneAt = now + destroyMs;
      const comesBack = entry.record.hasReturned !== true && dice('reappear', entry.record.ordinal);
      const written = change(entry, {
        stoppingSince: now,
        goneAt,
        ...(comesBack ? { returnsAt: goneAt + REAPPEARS_AFTER_MS } : {}),
      });
      schedule(entry);
      await Promise.all([written, closeServer(entry)]);
      return 'destroying';
    },
    isHeld: (hostIndex) => heldHosts.has(hostIndex),
    async close() {
      isClosed = true;
      await agenda.close();
      await Promise.all([...entries.values()].map(closeServer));
      await journal.close();
    },
  };
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
