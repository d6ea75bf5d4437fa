import { z } from 'zod';
import type { EpochMs } from '../../src/core/clock.ts';

/**
 * All that the market remembers of an instance; everything else follows from it and the time.
 *
 * unseen (made, in no list yet) → starting → running → stopping → gone, or failed on the way. An interruptible one may be paused while it
 * runs, and then goes on from starting. Booting is over at `bootsAt`, going at
 * `goneAt`; both are set beforehand, so that a process that was killed loses nothing: its successor reads the same moments.
 */
export const InstanceRecord = z.object({
  id: z.string(),
  /** Counts the instances of this folder; the faults are drawn by it. */
  ordinal: z.int(),
  tag: z.string(),
  hostIndex: z.int(),
  gpu: z.object({ smiName: z.string(), vramMib: z.int(), powerLimitWatts: z.int() }).optional(),
  gpuCount: z.int(),
  cpuCores: z.int(),
  memoryMib: z.int(),
  diskGb: z.number(),
  priceMicrosPerHour: z.int(),
  image: z.string().optional(),
  environment: z.record(z.string(), z.string()),
  /** The virtual ~/.ssh/authorized_keys. */
  authorizedKeys: z.string(),
  createdAt: z.int(),
  /** From here on lists show it. */
  landsAt: z.int(),
  /** Absent when it is stuck. */
  bootsAt: z.int().optional(),
  failsAt: z.int().optional(),
  vanishesAt: z.int().optional(),
  /** When somebody bids more; once that has happened, since when it is paused and when it resumes. */
  preemptsAt: z.int().optional(),
  pausedSince: z.int().optional(),
  resumesAt: z.int().optional(),
  /** Given at the first boot and kept over every restart. */
  hostKey: z.object({ privateKey: z.string(), publicKey: z.string() }).optional(),
  port: z.int().optional(),
  failure: z.string().optional(),
  /** Set together by the destroy. */
  stoppingSince: z.int().optional(),
  goneAt: z.int().optional(),
  /** When it is there again although it was gone. */
  returnsAt: z.int().optional(),
  hasReturned: z.boolean().optional(),
  /** A load that runs without anybody logged in. */
  burnsUntil: z.int().optional(),
});

export type InstanceRecord = z.infer<typeof InstanceRecord>;

export type Phase = 'unseen' | 'starting' | 'running' | 'paused' | 'stopping' | 'failed' | 'gone';

/** `isOpen`: whether its SSH server listens. */
export function phaseAt(record: InstanceRecord, { now, isOpen }: { now: EpochMs; isOpen: boolean }): Phase {
  if (record.goneAt !== undefined && record.goneAt <= now) return 'gone';
  if (record.vanishesAt !== undefined && record.vanishesAt <= now) return 'gone';
  if (record.landsAt > now) return 'unseen';
  if (record.stoppingSince !== undefined) return 'stopping';
  if (record.failure !== undefined) return 'failed';
  if (record.pausedSince !== undefined || (record.preemptsAt ?? Infinity) <= now) return 'paused';
  return isOpen ? 'running' : 'starting';
}

/** When something happens to it by itself; undefined when it stays as it is until somebody comes. */
export function nextStepAt(record: InstanceRecord, { isOpen }: { isOpen: boolean }): EpochMs | undefined {
  if (record.goneAt !== undefined) return record.returnsAt ?? record.goneAt;
  const isSettled = isOpen || record.failure !== undefined;
  const boot = isSettled || record.pausedSince !== undefined ? [] : [record.failsAt, record.bootsAt];
  const pause = record.failure !== undefined ? [] : [record.preemptsAt, record.resumesAt];
  const moments = [record.vanishesAt, ...pause, ...boot];
  const coming = moments.filter((moment) => moment !== undefined);
  return coming.length === 0 ? undefined : Math.min(...coming);
}
