import type { Clock } from '../../src/core/clock.ts';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { Call, HakuClient } from './client.ts';
import { STOP_TAKES_MS, type Endings } from './endings.ts';
import { START_DEADLINE_MS } from './instances.ts';
import type { Machines } from './machines.ts';
import type { VpsMemory } from './memory.ts';
import type { RunnerRoute } from './runner-route.ts';
import type { VpsRow, VpsRows } from './vps-rows.ts';

interface StopsDeps {
  readonly client: HakuClient;
  readonly rows: VpsRows;
  readonly endings: Endings;
  readonly machines: Machines;
  readonly memory: VpsMemory;
  readonly runner: RunnerRoute;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Ends a VPS. The Host's own kill is asked first, but never while the machine may be starting it: the machine would not hear of it, start the
 * container all the same, and no later kill would reach that. What the Host has closed or lost is ended by the machine's own route.
 */
export function createStops({ client, rows, endings, machines, memory, runner, clock, log }: StopsDeps) {
  function mayBeStarting({ row, remembered }: VpsRow): boolean {
    const isStarting = row.status === 'assigning' || row.status === 'pending';
    return isStarting && remembered.startFailure === undefined && memory.phaseAgeMs(remembered) < START_DEADLINE_MS;
  }

  /** Whether the Host's kill does not reach the container, or has not within the time that it takes. */
  async function needsItsMachine({ row, remembered }: VpsRow, call: Call): Promise<boolean> {
    const { phase, endedByRunnerMs, isUntold } = remembered;
    if (endedByRunnerMs !== undefined && clock.monotonicMs() - endedByRunnerMs < STOP_TAKES_MS) return false;
    if (phase === 'lost' || phase === 'paused' || isUntold === true) return !(await endings.isGone(row, call));
    if (phase !== 'ended') return false;
    const isGone = await endings.isGone(row, call);
    // seen to close, or told by the machine; what only time speaks for is asked there once more
    if (isGone) return endedByRunnerMs === undefined && memory.of(row.task_id)?.wasOpenAfterEnd !== true;
    return memory.phaseAgeMs(remembered) >= STOP_TAKES_MS || endings.isPortRefused(row, call);
  }

  async function askItsMachine({ row, remembered }: VpsRow, call: Call): Promise<void> {
    const { generation } = await client.dialect(call);
    const url = await machines.urlOf(remembered.node, call);
    const verdict = await runner.stop({ id: row.task_id, url, generation, signal: call.signal });
    // a container that somebody removed by hand is one that a Runner fails to stop for ever
    const isOver =
      verdict === 'ended' || verdict === 'unknown' || (verdict === 'failed' && (await endings.isPortRefused(row, call)));
    if (!isOver) return;
    memory.add(row.task_id, {
      endedByRunnerMs: remembered.endedByRunnerMs ?? clock.monotonicMs(),
      isEndedByRunner: verdict === 'ended' || remembered.isEndedByRunner === true,
      isStopAsked: true,
      isUntold: false,
    });
  }

  async function ask(found: VpsRow, call: Call): Promise<void> {
    const { row } = found;
    const answer = await client.stop(row.task_id, call);
    if (answer === 'asked') {
      const isUntold = found.remembered.phase === 'starting';
      const remembered = memory.add(row.task_id, { isStopAsked: true, isUntold, isStopTold: !isUntold });
      if (isUntold) await askItsMachine({ row, remembered }, call);
      return;
    }
    if (await needsItsMachine(found, call)) await askItsMachine(found, call);
  }

  async function isGoneNow(id: string, call: Call): Promise<boolean> {
    const after = await rows.find(id, call);
    if (after === undefined) return true;
    if (!(await endings.isGone(after.row, call))) return false;
    await forgetSnapshots(after, call);
    return true;
  }

  /** The later versions keep a copy of the disk of what they stop; it is the consumer's, and nobody will start from it. */
  async function forgetSnapshots({ row, remembered }: VpsRow, call: Call): Promise<void> {
    if (remembered.isStopAsked !== true || remembered.areSnapshotsForgotten === true) return;
    try {
      await client.deleteSnapshots(row.task_id, call);
      memory.add(row.task_id, { areSnapshotsForgotten: true });
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.debug({ instanceId: row.task_id, error: describeError(error) }, 'hakuriver snapshots could not be deleted');
    }
  }

  return async function destroy(id: string, call: Call): Promise<'destroying' | 'gone'> {
    const before = await rows.find(id, call);
    if (before && mayBeStarting(before)) {
      log.debug({ instanceId: id }, 'hakuriver kill is held back until the machine has started or failed');
      return 'destroying';
    }
    if (before) await ask(before, call);
    else await client.stop(id, call);
    try {
      return (await isGoneNow(id, call)) ? 'gone' : 'destroying';
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind === 'auth') throw error;
      log.debug(
        { instanceId: id, error: describeError(error) },
        'hakuriver took a kill but could not be asked what became of it',
      );
      return 'destroying';
    }
  };
}
