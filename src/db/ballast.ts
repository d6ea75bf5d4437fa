import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../core/clock.ts';

/**
 * Room beside the database that is held back for the day when its disk is full (REL-E3): given up then, it lets what matters be written,
 * the wishes to end and what came of them. While it is given up nothing new may be begun.
 */
export interface Ballast {
  /** Whether the room is held back; where it is not, tries to take it again, at most once a second. */
  holds(): boolean;
  /** Gives the room up; false when there was none to give. */
  release(): boolean;
}

export const BALLAST_BYTES = 2 ** 20;
/** What has to be free beside it, or the next write would take it again. */
const SLACK_BYTES = 2 ** 18;
/** With less the database cannot even be opened: its index takes 32 KiB. */
const LEAST_TO_OPEN_BYTES = 2 ** 16;
const LOOK_EVERY_MS = 1_000;

const ballastPath = (databasePath: string) => `${databasePath}.ballast`;

export function createBallast({
  databasePath,
  clock,
}: {
  readonly databasePath: string;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}): Ballast {
  const path = ballastPath(databasePath);
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let isHeld = sizeOf(path) >= BALLAST_BYTES;

  return {
    holds() {
      const nowMs = clock.monotonicMs();
      if (!isHeld && nowMs - lookedAtMs >= LOOK_EVERY_MS) {
        lookedAtMs = nowMs;
        isHeld = take(path);
      }
      return isHeld;
    },
    release() {
      if (!isHeld) return false;
      rmSync(path, { force: true });
      isHeld = false;
      lookedAtMs = clock.monotonicMs();
      return true;
    },
  };
}

/** To be called before a database is opened: on a full disk it cannot be without the room that its ballast holds. */
export function releaseToOpen(databasePath: string): void {
  const path = ballastPath(databasePath);
  if (sizeOf(path) > 0 && freeBytes(path) < LEAST_TO_OPEN_BYTES) rmSync(path, { force: true });
}

function take(path: string): boolean {
  if (freeBytes(path) < BALLAST_BYTES + SLACK_BYTES) return false;
  try {
    const file = openSync(path, 'w', 0o600);
    try {
      writeSync(file, randomBytes(BALLAST_BYTES)); // a file system that packs would hold nothing back with zeros
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    return true;
  } catch {
    rmSync(path, { force: true }); // somebody else has taken the room meanwhile
    return false;
  }
}

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
