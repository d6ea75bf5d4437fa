// npm test: builds when dist/ is older than its sources, then runs every test, and says loudly what this machine lacks for some of them.
// Arguments are passed on to vitest (`npm test -- --project unit src/core`). The last line is `N passed, N failed, N skipped`.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageScript, root, runNode } from './lib/commands.mjs';
import { parts } from './lib/parts.mjs';

const underCi = process.env.CI === 'true';
const present = parts.filter((part) => part.present());
const missing = parts.filter((part) => !present.includes(part) && !part.optional);

sayMissingParts();
if (missing.length > 0 && underCi) {
  console.error('CI=true: a missing part is a failure, no test was run.');
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
if (isBuildOld() && (await runNode('scripts/build.mjs', [], { show: true })).code !== 0) {
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
const reportFile = join(folder, 'report.json');
const { code } = await runNode(
  packageScript('vitest', 'vitest.mjs'),
  ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`, ...process.argv.slice(2)],
  { show: true, env: { BERTH_TEST_PARTS: present.map(({ name }) => name).join(',') } },
);
const counts = countTests(reportFile, code);
rmSync(folder, { recursive: true, force: true });
sayMissingParts();
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed > 0 || code !== 0 ? 1 : 0);

function sayMissingParts() {
  if (missing.length === 0) return;
  const line = '='.repeat(100);
  console.log(`\n${line}\nNOT EVERYTHING CAN BE TESTED HERE. Missing: ${missing.map(({ name }) => name).join(', ')}`);
  for (const { name, purpose, install } of missing)
    console.log(`  ${name}: tests of ${purpose} are SKIPPED.\n    On Debian: ${install}`);
  console.log(`${line}\n`);
}

/** A file whose tests could not even be collected, an error outside any test, and a run without tests each count as a failure. */
function countTests(file, exitCode) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { status, assertionResults } of readReport(file)?.testResults ?? []) {
    for (const test of assertionResults)
      counts[test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped'] += 1;
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed')) counts.failed += 1;
  }
  if (counts.failed === 0 && (exitCode !== 0 || counts.passed === 0)) counts.failed = 1;
  return counts;
}

/** Undefined when vitest died before or while writing it. */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    console.error(`no report of the run: ${error.message}`);
    return undefined;
  }
}

function isBuildOld() {
  const built = join(root, 'dist/src/cli/main.js');
  if (!existsSync(built)) return true;
  const builtAt = statSync(built).mtimeMs;
  const sources = ['src', 'providers'].flatMap((name) =>
    readdirSync(join(root, name), { recursive: true }).map((file) => join(root, name, file)),
  );
  return [...sources, join(root, 'tsconfig.json'), join(root, 'tsconfig.build.json'), join(root, 'package.json')].some(
    (file) => statSync(file).mtimeMs > builtAt,
  );
}
