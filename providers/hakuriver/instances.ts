import { assertNever } from '../../src/core/assert-never.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { Generation } from './dialect.ts';
import { endingOf, LOGIN_USER, saysStartFailed } from './mapping.ts';
import type { Remembered } from './memory.ts';
import type { TaskRow } from './schema.ts';

/** A VPS that has not started by then never will. Until then its machine may be at it, and must not be left alone with it. */
export const START_DEADLINE_MS = 10 * MINUTE_MS;
/** The machine tells that it runs a moment before it tells the port; without one by then, it came too late for the Host, and never will. */
const PORT_FOLLOWS_MS = 30 * SECOND_MS;

export interface InstanceContext {
  readonly generation: Generation;
  /** How long its phase has been seen. */
  readonly phaseAgeMs: number;
  readonly priceMicrosPerHour: MicroUsd;
}

type EndingRow = Pick<TaskRow, 'status' | 'exit_code' | 'error_message' | 'started_at'>;

/** A row that is not gone as an instance. */
export function toInstance(
  row: EndingRow & Pick<TaskRow, 'task_id' | 'required_gpus'>,
  remembered: Remembered,
  { generation, phaseAgeMs, priceMicrosPerHour }: InstanceContext,
): Instance {
  const { tag, startFailure, port } = remembered;
  const common = {
    id: instanceId(row.task_id),
    ...(tag !== null && tag !== undefined && { tag }),
    priceMicrosPerHour: hasNeverRun(row, remembered) ? 0 : Math.max(1, row.required_gpus.length) * priceMicrosPerHour,
  };
  const starting: Instance = { ...common, state: 'starting' };
  const running: Instance = { ...common, state: 'running', ssh: { user: LOGIN_USER, routes: 'dial' } };
  const failed = (reason: string): Instance => ({ ...common, state: 'failed', reason });
  switch (remembered.phase) {
    case 'starting':
      if (startFailure !== undefined) return failed(startFailure);
      return phaseAgeMs < START_DEADLINE_MS ? starting : failed('the machine has not started the VPS within ten minutes');
    case 'unknown':
      // not ready, and never an end, however long it is shown: what boots for ever is the verifier's
      return startFailure === undefined ? starting : failed(startFailure);
    case 'running':
      return running;
    case 'portless':
      if (startFailure !== undefined) return failed(startFailure);
      // it had one, and is entered by its id: a list of ports that lacks it for a while must not end a session that runs
      if (port !== undefined) return running;
      return phaseAgeMs < PORT_FOLLOWS_MS
        ? starting
        : failed('the VPS runs without an SSH port: it started too late for its Host');
    case 'paused':
      return { ...common, state: 'paused' };
    case 'lost': {
      // the seed's version never takes a lost VPS back; the later ones do when the machine's Runner starts again
      const mayReturn = generation !== 'seed' && phaseAgeMs < START_DEADLINE_MS;
      return mayReturn ? starting : failed('its machine was silent for too long, and the Host gave the VPS up');
    }
    case 'ended':
      return remembered.isStopAsked === true ? { ...common, state: 'stopping' } : failed(endingOf(row));
    default:
      return assertNever(remembered.phase, 'phase');
  }
}

/** Its machine could not start it: there is nothing to pay for, however long its row stays. */
function hasNeverRun(row: EndingRow, { startFailure, port, phase }: Remembered): boolean {
  const isKnownToHaveRun = row.started_at !== undefined || port !== undefined;
  if (isKnownToHaveRun || (phase !== 'starting' && phase !== 'ended')) return false;
  return startFailure !== undefined || saysStartFailed(row);
}
