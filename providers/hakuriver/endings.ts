import type { Clock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { bareHost } from './environment.ts';
import type { Call, HakuClient } from './client.ts';
import { knock, type Heard } from './knock.ts';
import { START_DEADLINE_MS } from './instances.ts';
import { failure, phaseOf, saysNeverStarted, saysNoMachineTold } from './mapping.ts';
import type { Machines } from './machines.ts';
import type { Remembered, VpsMemory } from './memory.ts';
import type { TaskRow } from './schema.ts';

/*
 * The Host never forgets a row, and closes it before anything was stopped: that it ended there proves nothing. A VPS counts as gone when its row
 * is closed, or its machine's own route said that it is no more, and besides
 * - its machine's own route said that it has it no more, and its port there is refused, or a minute has passed; or
 * - the Host has heard the machine ever since, so that the machine heard the kill, and the port, which the container keeps open, is refused after
 *   it had still been open. A refusal alone is not enough: a container that crashes over and over, or that moved to another port, has none
 *   open. Where the port was refused all along, is not known, cannot be dialled, or is another's: a minute, six times what a stop takes; or
 * - ten minutes have passed in which the port was not open; an hour, where no machine was told to end it, by us or by a Host that closed the row by
 *   itself, and the one that may run it can be dialled and was not silent for ten minutes.
 * A row that was closed before anything is known to have run says nothing for as long as a start may take: the machine may be at it, unheard
 * by the Host, which gives up a start of half a minute whose messages were lost.
 */

/** A stop takes ten seconds as a rule. */
export const STOP_TAKES_MS = 15 * SECOND_MS;
const UNPROVEN_END_MS = MINUTE_MS;
const UNHEARD_END_MS = 10 * MINUTE_MS;
const UNTOLD_END_MS = HOUR_MS;
/** For so long a VPS that is gone is looked at again: a kill that came before the start leaves a container that nobody has seen yet. */
const LOOKED_AT_AGAIN_MS = 10 * MINUTE_MS;
/** Their times have no zone: what ended longer ago than this by its own clock did so hours ago wherever that clock is. */
const LONG_ENDED_MS = 26 * HOUR_MS;

export interface Endings {
  isGone(row: TaskRow, call: Call): Promise<boolean>;
  /** Whether its machine says that nothing listens at its port. */
  isPortRefused(row: TaskRow, call: Call): Promise<boolean>;
  /** Whether a row needs no look at all: closed for long when this process first saw it. */
  isLongEnded(row: TaskRow): boolean;
}

interface EndingsDeps {
  readonly client: Pick<HakuClient, 'activeVps'>;
  readonly machines: Machines;
  readonly memory: VpsMemory;
  readonly clock: Clock;
}

/** At the moment of a look. */
interface Ended extends Remembered {
  readonly endAgeMs: number;
  /** Whether the Host hears its machine now; undefined where that is not known, or does not matter. */
  readonly isHeard: boolean | undefined;
}

export function createEndings({ client, machines, memory, clock }: EndingsDeps): Endings {
  async function hears({ node, port }: Remembered, id: string, call: Call): Promise<Heard> {
    const url = await machines.urlOf(node, call);
    if (url === undefined || port === undefined) return 'unreachable';
    const heard = await knock({ host: bareHost(url), port, clock, signal: call.signal });
    if (call.signal.aborted)
      throw failure({ operation: call.operation, kind: 'unavailable', why: 'cancelled', cause: call.signal.reason });
    return heard === 'open' && (await isAnothers({ id, node, port }, call)) ? 'unreachable' : heard;
  }

  /** Ports are given out anew, and a container that restarted left its old one behind. */
  async function isAnothers(
    { id, node, port }: { id: string; node: string | undefined; port: number },
    call: Call,
  ): Promise<boolean> {
    const active = await client.activeVps(call);
    return active.some((other) => other.task_id !== id && other.assigned_node === node && other.ssh_port === port);
  }

  /** Its machine has ended it, or was told to and knows of none any more: then it is another's port that is open. */
  function isEndedForSure({ endedByRunnerMs, isEndedByRunner, isStopTold }: Remembered): boolean {
    return endedByRunnerMs !== undefined && (isEndedByRunner === true || isStopTold === true);
  }

  async function isProven(row: TaskRow, ended: Ended, heard: Heard, call: Call): Promise<boolean> {
    const { wasOpenAfterEnd, endedByRunnerMs, endAgeMs } = ended;
    if (heard === 'open' && !isEndedForSure(ended)) return false;
    if (endedByRunnerMs !== undefined) return heard === 'refused' || endAgeMs >= UNPROVEN_END_MS;
    if (endAgeMs >= UNHEARD_END_MS) return endAgeMs >= UNTOLD_END_MS || !(await mayYetBeTold(row, ended, call));
    const wasShut = heard === 'refused' && wasOpenAfterEnd === true;
    return hasHeardTheKill(row, ended) && (wasShut || endAgeMs >= UNPROVEN_END_MS);
  }

  /** A Runner that is dead when it is told to kill is not told again, and one that may still start the VPS is not told at all. */
  function hasHeardTheKill(row: TaskRow, ended: Ended): boolean {
    if (ended.wasUnheard === true || isNobodyTold(row, ended)) return false;
    if (ended.isHeard !== true) memory.add(row.task_id, { wasUnheard: true });
    return ended.isHeard === true;
  }

  /** No machine was told to end it, and the one that may run it has not been silent for long: its own route may answer yet. */
  async function mayYetBeTold(row: TaskRow, ended: Ended, call: Call): Promise<boolean> {
    if (!isNobodyTold(row, ended) || (await machines.urlOf(ended.node, call)) === undefined) return false;
    const { silentSinceMs } = ended;
    return silentSinceMs === undefined || clock.monotonicMs() - silentSinceMs < UNHEARD_END_MS;
  }

  /** Asked at each look after the end, whatever the port says: a Runner that was dead may be back by the time that the port is refused. */
  async function isMachineHeard(id: string, call: Call): Promise<boolean | undefined> {
    const isHeard = await machines.isOnline(memory.of(id)?.node, call);
    if (isHeard === true) memory.add(id, { silentSinceMs: undefined });
    if (isHeard === false)
      memory.add(id, { wasUnheard: true, silentSinceMs: memory.of(id)?.silentSinceMs ?? clock.monotonicMs() });
    return isHeard;
  }

  function mayStillStart(row: TaskRow, remembered: Remembered): boolean {
    return isStartUnknown(row, remembered) && clock.monotonicMs() - remembered.firstSeenMs < START_DEADLINE_MS;
  }

  return {
    async isGone(row, call) {
      const { task_id: id } = row;
      const before = memory.of(id);
      if (before === undefined) return false;
      const { phase, endedByRunnerMs, goneSinceMs } = before;
      const now = clock.monotonicMs();
      const endedSinceMs = phase === 'ended' ? before.phaseSinceMs : endedByRunnerMs;
      if (endedSinceMs === undefined) return false;
      if (goneSinceMs !== undefined && now - goneSinceMs >= LOOKED_AT_AGAIN_MS) return true;
      const isHeard = endedByRunnerMs === undefined ? await isMachineHeard(id, call) : undefined;
      const remembered = memory.of(id) ?? before;
      if (mayStillStart(row, remembered)) return false;
      const heard = await hears(remembered, id, call);
      if (heard === 'open') memory.add(id, { wasOpenAfterEnd: true });
      const ended = { ...remembered, isHeard, endAgeMs: now - (endedByRunnerMs ?? endedSinceMs) };
      const isGone = await isProven(row, ended, heard, call);
      if (isGone !== (goneSinceMs !== undefined)) memory.add(id, { goneSinceMs: isGone ? now : undefined });
      return isGone;
    },

    async isPortRefused({ task_id: id }, call) {
      const remembered = memory.of(id);
      return remembered !== undefined && (await hears(remembered, id, call)) === 'refused';
    },

    isLongEnded(row) {
      const { task_id: id, completed_at: text = '' } = row;
      // a lost one may run for days
      if (memory.of(id) !== undefined || phaseOf(row) !== 'ended') return false;
      const endedAt = Date.parse(/Z$|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`);
      return clock.now() - endedAt > LONG_ENDED_MS;
    },
  };
}

/** We reached no machine, or the Host closed the row without a word to any. */
function isNobodyTold(row: TaskRow, remembered: Remembered): boolean {
  const { isUntold, isStopTold, isEndedByRunner, startFailure } = remembered;
  if (startFailure !== undefined || isEndedByRunner === true) return false;
  return isUntold === true || isStartUnknown(row, remembered) || (isStopTold !== true && saysNoMachineTold(row));
}

/** Nothing says that it ran, and nothing that it did not. Its Host may have given up a start at which the machine still is. */
function isStartUnknown(row: TaskRow, { port, startFailure, isEndedByRunner }: Remembered): boolean {
  const isKnownToHaveRun = row.started_at !== undefined || port !== undefined;
  return !isKnownToHaveRun && startFailure === undefined && isEndedByRunner !== true && !saysNeverStarted(row);
}
