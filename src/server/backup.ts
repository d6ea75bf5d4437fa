import { loadConfig } from '../config/load-config.ts';
import { readEnvironment } from '../config/read-environment.ts';
import { backupSqlite } from '../db/sqlite-backup.ts';
import { providerModules } from '../../providers/index.ts';

interface BackupOptions {
  readonly file: string;
  readonly say: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** Copies the configured SQLite database; hands back the exit code. */
export async function backup({ file, say, complain }: BackupOptions): Promise<number> {
  const loaded = loadConfig({ ...readEnvironment(), modules: providerModules });
  if (!loaded.ok) {
    for (const fault of loaded.faults) complain(fault);
    return 78;
  }
  const { database } = loaded.config;
  if (database.url !== undefined) {
    complain("DATABASE_URL is set: back up PostgreSQL with its own tools (pg_dump), and keep the secret key's file with it");
    return 78;
  }
  try {
    backupSqlite(database.path, file);
    say(`${database.path} copied to ${file}. Keep secret.key beside it: without that file the stored keys cannot be opened.`);
    return 0;
  } catch (error) {
    complain(`backup failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}
