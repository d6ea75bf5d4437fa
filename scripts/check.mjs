// npm run check: every gate but the tests, the quick ones first. All are run, and all failures stand together at the end.
//   --only NAME   runs one gate
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageScript, root, runNode } from './lib/commands.mjs';

/** A cruise that sees nothing finds nothing: raised as the house grows, never lowered without a reason in the commit. */
const moduleFloor = 340;

/** name: what it does; gives whether it holds, and what to show. */
const gates = {
  lockfile: checkLockfile,
  format: () => tool('prettier', 'bin/prettier.cjs', ['--check', '--log-level', 'warn', '.'], 'npm run format'),
  lint: () => tool('oxlint', 'bin/oxlint', ['--type-aware', '--deny-warnings']),
  imports: checkImports,
  types: () => tool('typescript', 'bin/tsc', ['--noEmit', '--pretty', 'false']),
  unused: checkUnused,
  generated: () => node('scripts/generate.mjs', ['--check']),
  'migrations-sqlite': () => checkMigrations('sqlite'),
  'migrations-postgres': () => checkMigrations('postgres'),
};

const only = process.argv.indexOf('--only') === -1 ? undefined : process.argv[process.argv.indexOf('--only') + 1];
if (process.argv.includes('--only') && !(only in gates)) {
  console.error(`check: --only takes one of ${Object.keys(gates).join(', ')}`);
  process.exit(2);
}

const failures = [];
for (const [name, gate] of Object.entries(gates)) {
  if (only !== undefined && only !== name) continue;
  const startedAt = performance.now();
  const { holds, output } = await gate();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(
    `${holds ? 'ok    ' : 'FAILED'} ${name.padEnd(20)} ${seconds.padStart(5)} s  ${holds ? (output.split('\n').at(-1) ?? '') : ''}`.trimEnd(),
  );
  if (!holds) failures.push({ name, output });
}
for (const { name, output } of failures) console.log(`\n--- ${name}\n${output}`);
if (failures.length > 0) {
  console.log(
    `\n${failures.length} of ${Object.keys(gates).length} gates failed: ${failures.map(({ name }) => name).join(', ')}`,
  );
  process.exit(1);
}

async function node(script, scriptArguments, fix) {
  const { code, output } = await runNode(script, scriptArguments, { env: { NO_COLOR: '1' } });
  return { holds: code === 0, output: code !== 0 && fix ? `${output}\nTo mend it: ${fix}` : output };
}

function tool(name, script, toolArguments, fix) {
  return node(packageScript(name, script), toolArguments, fix);
}

async function checkImports() {
  const folders = ['src', 'providers', 'test', 'bench'].filter((folder) => readdirSync(root).includes(folder));
  const { code, output } = await runNode(packageScript('dependency-cruiser', 'bin/dependency-cruise.mjs'), [
    '--config',
    '.dependency-cruiser.mjs',
    '--output-type',
    'json',
    ...folders,
  ]);
  let report;
  try {
    report = JSON.parse(output);
  } catch {
    return { holds: false, output };
  }
  const modules = report.modules.filter(({ source }) => /^(src|providers)\//.test(source)).length;
  const lines = report.summary.violations.map(
    ({ rule, from, to, cycle }) =>
      `${from} -> ${cycle ? cycle.map(({ name }) => name).join(' -> ') : to}\n    ${rule.name}: ${ruleComment(report, rule.name)}`,
  );
  if (modules < moduleFloor)
    lines.push(
      `only ${modules} modules of src/ and providers/ were seen, at least ${moduleFloor} are there: the cruise reads the wrong thing`,
    );
  return {
    holds: code === 0 && lines.length === 0,
    output: [...lines, `${modules} modules of src/ and providers/, ${report.summary.totalDependenciesCruised} imports`].join(
      '\n',
    ),
  };
}

function ruleComment(report, name) {
  return report.summary.ruleSetUsed.forbidden.find((rule) => rule.name === name)?.comment ?? '';
}

/** Once with the tests as users of the code, once without: what only tests use ships for nothing. */
async function checkUnused() {
  const whole = await tool('knip', 'bin/knip.js', ['--no-progress']);
  const product = await tool('knip', 'bin/knip.js', ['--no-progress', '--production', '--include', 'files,dependencies']);
  const shown = (title, { holds, output }) => (holds ? [] : [`${title}\n${output}`]);
  return {
    holds: whole.holds && product.holds,
    output: [
      ...shown('Used by nothing:', whole),
      ...shown('Used by no product code (move what only tests need to test/ or to devDependencies):', product),
    ].join('\n'),
  };
}

/** Generates into a copy of the migrations: when the tables say something that no migration does, a new file appears there. */
async function checkMigrations(dialect) {
  const scratch = join('.tmp', `migrations-${dialect}-${process.pid}`);
  try {
    cpSync(join(root, 'migrations', dialect), join(root, scratch), { recursive: true });
    const before = sqlFiles(scratch);
    const { code, output } = await runNode(packageScript('drizzle-kit', 'bin.cjs'), [
      'generate',
      `--dialect=${dialect === 'postgres' ? 'postgresql' : dialect}`,
      `--schema=./src/db/schema.${dialect}.ts`,
      `--out=./${scratch}`,
    ]);
    const added = sqlFiles(scratch).filter((file) => !before.includes(file));
    // Where a column may have been renamed drizzle-kit wants to ask; without a terminal it then writes nothing, and still ends with 0.
    if (code !== 0 || (added.length === 0 && !output.includes('No schema changes, nothing to migrate')))
      return {
        holds: false,
        output: `${output}\ndrizzle-kit could not compare; a renamed column needs a terminal or a migration by hand`,
      };
    if (added.length === 0) return { holds: true, output: `${before.length} migrations` };
    const sql = added.map((file) => readFileSync(join(root, scratch, file), 'utf8')).join('\n');
    return {
      holds: false,
      output: `the tables have changed and migrations/${dialect} has not; it lacks:\n${sql}\nTo mend it, for both dialects: node scripts/migrations.mjs`,
    };
  } catch (error) {
    return { holds: false, output: String(error) };
  } finally {
    rmSync(join(root, scratch), { recursive: true, force: true });
  }
}

function sqlFiles(folder) {
  return readdirSync(join(root, folder)).filter((file) => file.endsWith('.sql'));
}

/** The lockfile serves every registry: it names no host, and says what each package must hash to. */
async function checkLockfile() {
  const { lockfileVersion, packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const faults = [];
  if (lockfileVersion !== 3) faults.push(`lockfileVersion is ${lockfileVersion}, not 3`);
  for (const [path, entry] of Object.entries(packages)) {
    if (entry.resolved !== undefined) faults.push(`${path} names where it was downloaded from: ${entry.resolved}`);
    if (path !== '' && !entry.link && !entry.inBundle && !entry.integrity) faults.push(`${path} has no integrity hash`);
  }
  for (const group of ['dependencies', 'devDependencies', 'optionalDependencies']) {
    const locked = packages['']?.[group] ?? {};
    const wanted = manifest[group] ?? {};
    for (const name of new Set([...Object.keys(locked), ...Object.keys(wanted)])) {
      if (locked[name] !== wanted[name])
        faults.push(`${group}: package.json wants ${name} ${wanted[name]}, the lockfile was made for ${locked[name]}`);
    }
  }
  return {
    holds: faults.length === 0,
    output: faults.length > 0 ? faults.join('\n') : `${Object.keys(packages).length - 1} packages`,
  };
}
