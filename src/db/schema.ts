import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Kit } from './columns.ts';
import { readMigrations, type Migration } from './migrations.ts';
import { defineTables, type Tables } from './tables.ts';

/** What a database holds: its tables, and the migrations that make them. */
export interface Schema<Defined = Tables> {
  defineTables(kit: Kit): Defined;
  /** In their order, from the first. */
  migrations(dialect: 'sqlite' | 'postgres'): Migration[];
}

/** Berth's own. */
export const berthSchema: Schema = {
  defineTables,
  migrations: (dialect) => readMigrations(join(packageRoot(), 'migrations', dialect)),
};

/** The folder of package.json: two up from the sources, three from the build. */
function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, 'package.json'))) return folder;
  throw new Error(`no package.json above ${start}: the installation is incomplete`);
}
