import { join } from 'node:path';
import { SqliteDatabase } from '../../src/db/sqlite-driver.ts';

export interface BareCommits {
  /** Commits one row each, one after the other, for so long; gives commits a second. */
  run(ms: number): number;
  close(): void;
}

const ROW = 'x'.repeat(1_000);

/** What the disk and SQLite can do at best for somebody who commits row by row: WAL, FULL, one insert of 1 kB a commit, nothing else. */
export function openBareCommits(folder: string): BareCommits {
  const database = new SqliteDatabase(join(folder, 'bare.db'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)');
  const insert = database.prepare('INSERT INTO rows (body) VALUES (?)');
  return {
    run(ms) {
      const startedMs = performance.now();
      let count = 0;
      while (performance.now() - startedMs < ms) {
        insert.run(ROW);
        count += 1;
      }
      return (count * 1_000) / (performance.now() - startedMs);
    },
    close: () => void database.close(),
  };
}
