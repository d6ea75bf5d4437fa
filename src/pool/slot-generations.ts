import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

const FILE = 'slots.json';
const Generation = z.number().int().min(0);
const SlotsFile = z.strictObject({ version: z.literal(1), base: Generation, slots: z.record(z.string(), Generation) });
type SlotsFile = z.infer<typeof SlotsFile>;

/** Gives slots their public names, which are used once: an offer that was claimed never comes back under its old name. */
export interface SlotGenerations {
  slotId(machineId: string, slotKey: string): Promise<string>;
  /** Before a claim is acted upon; resolves when it can no longer be forgotten. */
  advance(machineId: string, slotKey: string): Promise<void>;
}

/**
 * Counts claims in a file of the pool's own folder. A counter never goes below the time at which the file was made, so that a file that is
 * lost or unreadable brings no old name back.
 */
export function createSlotGenerations({
  folder,
  clock,
  log,
}: {
  folder: string;
  clock: Pick<Clock, 'now'>;
  log: Log;
}): SlotGenerations {
  let state: Promise<SlotsFile> | undefined;
  let written: Promise<void> = Promise.resolve();

  async function load(): Promise<SlotsFile> {
    const path = join(folder, FILE);
    let text: string | undefined;
    try {
      text = await readFile(path, 'utf8');
      return SlotsFile.parse(JSON.parse(text));
    } catch (error) {
      if (text !== undefined || !isMissing(error))
        log.warn({ path, cause: describeError(error) }, 'slot counters are unreadable, begun anew');
      const begun: SlotsFile = { version: 1, base: clock.now(), slots: {} };
      await save(begun);
      return begun;
    }
  }

  async function save(file: SlotsFile): Promise<void> {
    await mkdir(folder, { recursive: true });
    const next = join(folder, `${FILE}.new`);
    await writeFile(next, JSON.stringify(file), { flush: true });
    await rename(next, join(folder, FILE));
  }

  function known(): Promise<SlotsFile> {
    state ??= load().catch((error: unknown) => {
      state = undefined; // the next call tries again
      throw error;
    });
    return state;
  }

  return {
    async slotId(machineId, slotKey) {
      const { base, slots } = await known();
      const name = slotName(machineId, slotKey);
      return `${name}-${(slots[name] ?? base).toString(36)}`;
    },
    async advance(machineId, slotKey) {
      const file = await known();
      const name = slotName(machineId, slotKey);
      file.slots[name] = Math.max((file.slots[name] ?? file.base) + 1, clock.now());
      written = written.then(
        () => save(file),
        () => save(file),
      );
      await written;
    },
  };
}

function slotName(machineId: string, slotKey: string): string {
  return createHash('sha256').update(`${machineId}\n${slotKey}`).digest('hex').slice(0, 12);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
