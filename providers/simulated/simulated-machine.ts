import type { Clock } from '../../src/core/clock.ts';
import type { HandOff, HandOffAnswer } from '../../src/provider/key-hand-off.ts';
import type { InstanceRecord } from './instance-record.ts';

/** An instance as its SSH server and the commands in it see it. */
export interface SimulatedMachine {
  /** As it stands now: a hand-off or a load changes it. */
  record(): InstanceRecord;
  readonly clock: Clock;
  load(): Load;
  handOff(handOff: HandOff): Promise<HandOffAnswer>;
  /** Counts as busy until the returned function is called. */
  beginLoad(): () => void;
  /** Busy for so long, whoever is logged in. */
  leaveLoad(durationMs: number): Promise<void>;
}

/** How busy it is, percent. */
export interface Load {
  /** Of every GPU; absent without one. */
  readonly gpuPercent?: number;
  readonly cpuPercent: number;
}
