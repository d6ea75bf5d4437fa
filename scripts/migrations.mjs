// Writes the migrations of both dialects from the one table definition: node scripts/migrations.mjs [--check]
// While nothing is released (no file migrations/released), the first migration is made anew; afterwards the next one is added.
// With --check it changes nothing and fails when the migrations do not match the tables.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const drizzleKit = join(dirname(createRequire(import.meta.url).resolve('drizzle-kit')), 'bin.cjs');
const isReleased = existsSync(join(root, 'migrations', 'released'));
const onlyCheck = process.argv.includes('--check');

let stale = 0;
for (const [dialect, environment] of Object.entries({
  sqlite: { DATABASE_URL: '' },
  postgres: { DATABASE_URL: 'postgres://' },
})) {
  const current = join(root, 'migrations', dialect);
  const made = join('.tmp', `migrations-${process.pid}-${dialect}`); // drizzle-kit wants it relative
  try {
    mkdirSync(join(root, made), { recursive: true });
    if (isReleased) cpSync(current, join(root, made), { recursive: true });
    generate(made, environment);
    if (sqlIn(join(root, made)) === sqlIn(current)) {
      console.log(`migrations/${dialect}: up to date`);
    } else if (onlyCheck) {
      stale += 1;
      console.error(
        `migrations/${dialect}: does not match src/db/tables.ts; run node scripts/migrations.mjs and commit what it writes`,
      );
    } else {
      rmSync(current, { recursive: true, force: true });
      cpSync(join(root, made), current, { recursive: true });
      console.log(`migrations/${dialect}: written`);
    }
  } finally {
    rmSync(join(root, made), { recursive: true, force: true });
  }
}
if (stale > 0) process.exitCode = 1;

function generate(folder, environment) {
  const name = isReleased ? [] : ['--name', 'start'];
  try {
    execFileSync(process.execPath, [drizzleKit, 'generate', ...name], {
      cwd: root,
      env: { ...process.env, ...environment, MIGRATIONS_FOLDER: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
    });
  } catch (error) {
    throw new Error(`drizzle-kit generate failed:\n${error.stdout}\n${error.stderr}`, { cause: error });
  }
}

/** All SQL of a folder; the journal and snapshots beside it carry times and random ids. */
function sqlIn(folder) {
  if (!existsSync(folder)) return '';
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  return names.map((name) => `${name}\n${readFileSync(join(folder, name), 'utf8')}`).join('\n');
}
