import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS } from '../../src/core/duration.ts';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { Call, HakuClient } from './client.ts';
import { STOP_TAKES_MS, type Endings } from './endings.ts';
import { START_DEADLINE_MS } from './instances.ts';
import type { Machines } from './machines.ts';
import type { VpsMemory } from './memory.ts';
import type { RunnerRoute, RunnerVerdict } from './runner-route.ts';
import type { VpsRow, VpsRows } from './vps-rows.ts';

/** So many failures in a row, over such a time, are no accident. */
const FAILS_FOR_EVER = 5;
const FAILS_FOR_EVER_MS = MINUTE_MS;

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
    // a word that nobody knows may mean a start; what nobody has approved yet is with no machine
    const { phase, port } = remembered;
    const isUnknownStart = phase === 'unknown' && port === undefined && row.started_at === undefined;
    const isStarting = (phase === 'starting' || isUnknownStart) && row.status !== 'pending_approval';
    return isStarting && remembered.startFailure === undefined && memory.phaseAgeMs(remembered) < START_DEADLINE_MS;
  }

  /** Whether the Host's kill does not reach the container, or has not within the time that it takes. */
  async function needsItsMachine({ row, remembered }: VpsRow, call: Call): Promise<boolean> {
    const { phase, endedByRunnerMs, isUntold } = remembered;
    if (endedByRunnerMs !== undefined && clock.monotonicMs() - endedByRunnerMs < STOP_TAKES_MS) return false;
    if (isUntold === true && endedByRunnerMs === undefined) return true;
    if (phase === 'lost' || phase === 'paused' || phase === 'unknown' || isUntold === true)
      return !(await endings.isGone(row, call));
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
    const isOver = verdict === 'ended' || verdict === 'unknown' || (await isRemovedByHand({ row, remembered }, verdict, call));
    if (!isOver) return;
    if (verdict === 'unknown' && remembered.isUntold === true)
      log.warn(
        { instanceId: row.task_id, machine: remembered.node },
        'hakuriver runner does not know a VPS that it may have started: look for its container on its machine',
      );
    memory.add(row.task_id, {
      endedByRunnerMs: remembered.endedByRunnerMs ?? clock.monotonicMs(),
      isEndedByRunner: verdict === 'ended' || remembered.isEndedByRunner === true,
      isStopAsked: true,
      isUntold: false,
    });
  }

  /** A Runner fails to stop such a container for ever. Once or twice it may have other troubles, while the container runs behind another port. */
  async function isRemovedByHand({ row, remembered }: VpsRow, verdict: RunnerVerdict, call: Call): Promise<boolean> {
    const now = clock.monotonicMs();
    const { sinceMs, count } = remembered.runnerFailures ?? { sinceMs: now, count: 0 };
    const hasFailed = verdict === 'failed';
    memory.add(row.task_id, { runnerFailures: hasFailed ? { sinceMs, count: count + 1 } : undefined });
    const isForEver = hasFailed && count + 1 >= FAILS_FOR_EVER && now - sinceMs >= FAILS_FOR_EVER_MS;
    return isForEver && (await endings.isPortRefused(row, call));
  }

  async function ask(found: VpsRow, call: Call): Promise<void> {
    const { row } = found;
    const isUntold = found.remembered.phase === 'starting' || found.remembered.phase === 'unknown';
    let answer: Awaited<ReturnType<HakuClient['stop']>>;
    try {
      answer = await client.stop(row.task_id, call);
    } catch (error) {
      if (isUntold) memory.add(row.task_id, { isUntold }); // the row may be closed all the same, and nobody has told the machine
      throw error;
    }
    if (answer === 'asked') {
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
