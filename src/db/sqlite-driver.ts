import type Sqlite from 'better-sqlite3';
import { createRequire } from 'node:module';

const NODE_API_OF_13 = 10;

/**
 * better-sqlite3 in the version that this Node can run: 13 is prebuilt but crashes on Node 20, 12 is compiled and crashes on
 * Node 24.19. One lockfile holds both, 13 under an alias that npm leaves out where its engine does not fit.
 */
export const SqliteDatabase: typeof Sqlite = load();

function load(): typeof Sqlite {
  const require = createRequire(import.meta.url);
  return Number(process.versions.napi) >= NODE_API_OF_13 ? require('better-sqlite3-napi') : require('better-sqlite3');
}
