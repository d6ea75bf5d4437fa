import { systemClock } from '../../src/core/clock.ts';
import type { Log } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { openStore } from '../../src/db/open-store.ts';
import type { Store } from '../../src/db/store.ts';

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Berth's own SQLite store on a file. */
export function openScratchStore(path: string): Promise<Store> {
  return openStore({
    path,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    onFatal: (error) => {
      throw error;
    },
  });
}
