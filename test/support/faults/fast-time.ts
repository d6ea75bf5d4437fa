import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Debian has it in a folder of the architecture. */
function libraryPath(): string {
  for (const folder of readdirSync('/usr/lib', { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    const path = join('/usr/lib', folder.name, 'faketime');
    try {
      if (readdirSync(path).includes('libfaketime.so.1')) return join(path, 'libfaketime.so.1');
    } catch {
      // not the folder of an architecture
    }
  }
  throw new Error('libfaketime is not under /usr/lib, where Debian has it');
}

/** For a process in which so many seconds pass in one: its wall clock, its monotonic clock and its timers alike. */
export function fastTime(factor: number): Readonly<Record<string, string>> {
  return { LD_PRELOAD: libraryPath(), FAKETIME: `+0 x${factor}` };
}

/** For a process whose wall clock stands off by what the file says (`+7200`, seconds), each time it looks; nothing else does. */
export function shiftedWallClock(file: string): Readonly<Record<string, string>> {
  return {
    LD_PRELOAD: libraryPath(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}
