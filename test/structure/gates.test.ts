import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// The gates are themselves tested: each planted fault must be reported, in the file where it was planted and by the rule meant for it.
// A gate that reads nothing, or whose pattern no longer matches, would otherwise be green for ever.

const root = resolve(import.meta.dirname, '../..');

/** Rule of the import check, file, line that breaks it. Every other file of the planted tree is empty. */
const importFaults: readonly (readonly [rule: string, file: string, line: string])[] = [
  ['room-core', 'src/core/plant.ts', `import '../provider/target.ts';`],
  ['room-provider', 'src/provider/plant.ts', `import '../db/target.ts';`],
  ['room-config', 'src/config/plant.ts', `import '../db/target.ts';`],
  ['room-db', 'src/db/plant.ts', `import type {} from '../sessions/target.ts';`],
  ['room-observability', 'src/observability/plant.ts', `import '../http/target.ts';`],
  ['room-sessions', 'src/sessions/commands/plant.ts', `import type {} from '../../offers/target.ts';`],
  ['room-offers', 'src/offers/plant.ts', `import '../costs/target.ts';`],
  ['room-costs', 'src/costs/plant.ts', `import '../controllers/target.ts';`],
  ['room-consumers', 'src/consumers/plant.ts', `import '../server/target.ts';`],
  ['room-pool', 'src/pool/plant.ts', `import '../runner/target.ts';`],
  ['room-ssh', 'src/ssh/plant.ts', `import '../../providers/one/index.ts';`],
  ['room-controllers', 'src/controllers/plant.ts', `import '../http/target.ts';`],
  ['room-http', 'src/http/plant.ts', `import '../tunnel/target.ts';`],
  ['room-tunnel', 'src/tunnel/plant.ts', `import '../http/target.ts';`],
  ['room-runner-protocol', 'src/runner-protocol/plant.ts', `import '../pool/target.ts';`],
  ['room-runner', 'src/runner/plant.ts', `import '../provider/target.ts';`],
  ['room-client', 'src/client/plant.ts', `import '../http/target.ts';`],
  ['room-cli', 'src/cli/plant.ts', `import '../config/target.ts';`],
  ['room-dashboard', 'src/dashboard/plant.ts', `import '../sessions/target.ts';`],
  ['room-server', 'src/server/plant.ts', `import '../cli/target.ts';`],
  ['cli-starts-server-dynamically', 'src/cli/static-start.ts', `import '../server/target.ts';`],
  ['provider-sees-contract-only', 'providers/one/plant.ts', `import '../two/index.ts';`],
  ['provider-sees-contract-only', 'providers/one/plant-db.ts', `import '../../src/db/target.ts';`],
  ['provider-list-lists-providers', 'providers/index.ts', `import './one/plant.ts';`],
  ['product-without-test-code', 'src/ssh/plant-test.ts', `import '../../test/support/target.ts';`],
  ['product-without-test-code', 'providers/two/plant-emulator.ts', `import './emulator.ts';`],
  ['product-without-test-code', 'providers/two/plant-fixture.ts', `import './fixtures/client.ts';`],
  ['product-without-dev-packages', 'src/http/plant-dev.ts', `import 'vitest';`],
  ['package-is-declared', 'src/core/plant-package.ts', `import 'semver';`],
  ['import-resolves', 'src/core/plant-nowhere.ts', `import './nowhere.ts';`],
  ['unknown-room', 'src/misc/plant.ts', `import '../core/target.ts';`],
  ['no-circles', 'src/core/circle.ts', `import './round.ts';`],
  ['home-of-drizzle-orm', 'src/sessions/plant-sql.ts', `import 'drizzle-orm';`],
  ['home-of-better-sqlite3', 'src/config/plant-sqlite.ts', `import 'better-sqlite3';`],
  ['home-of-better-sqlite3', 'src/sessions/plant-repository.ts', `import 'pg';`],
  ['home-of-fastify', 'src/server/plant-fastify.ts', `import 'fastify';`],
  ['home-of-fastify', 'src/controllers/plant-fastify.ts', `import '@fastify/sse';`],
  ['home-of-ssh2', 'providers/one/plant-ssh.ts', `import type {} from 'ssh2';`],
  ['home-of-dockerode', 'src/pool/plant-docker.ts', `import 'dockerode';`],
  ['home-of-prom-client', 'src/http/plant-metrics.ts', `import 'prom-client';`],
  ['home-of-dotenv', 'src/server/plant-dotenv.ts', `import 'dotenv';`],
  ['home-of-commander', 'src/server/plant-arguments.ts', `import 'commander';`],
];

/** What the rules allow: none of these may be reported. */
const allowedImports: readonly (readonly [file: string, line: string])[] = [
  ['src/cli/dynamic-start.ts', `await import('../server/target.ts');`],
  [
    'src/server/composition.ts',
    `import '../../providers/one/index.ts';\nimport '../http/target.ts';\nimport '../runner/target.ts';`,
  ],
  ['src/sessions/fine-repository.ts', `import 'drizzle-orm';\nimport '../db/target.ts';`],
  [
    'src/sessions/fine.test.ts',
    `import 'vitest';\nimport 'ssh2';\nimport '../../test/support/target.ts';\nimport '../offers/target.ts';`,
  ],
  ['providers/simulated/machine.ts', `import 'ssh2';\nimport '../../src/provider/target.ts';`],
  ['providers/two/emulator.ts', `import 'fastify';`],
  ['providers/two/fixtures/client.ts', `import 'ssh2';`],
  ['src/core/round.ts', `import './circle.ts';`],
];

/** Rule of the linter, file, code that breaks it. */
const lintFaults: readonly (readonly [rule: string, file: string, code: string])[] = [
  ['no-floating-promises', 'src/sessions/a.ts', 'export function f(p: Promise<void>) { p; }'],
  ['no-floating-promises', 'src/sessions/b.ts', 'export function f(query: PromiseLike<void>) { query; }'],
  ['no-misused-promises', 'src/sessions/c.ts', 'export function f(p: Promise<boolean>) { return p ? 1 : 2; }'],
  ['await-thenable', 'src/sessions/d.ts', 'export async function f(n: number) { await n; }'],
  [
    'switch-exhaustiveness-check',
    'src/sessions/e.ts',
    `export function f(s: 'a' | 'b') { switch (s) { case 'a': return 1; } return 2; }`,
  ],
  ['no-explicit-any', 'src/sessions/g.ts', 'export function f(a: any) { return String(a); }'],
  ['no-default-export', 'src/sessions/h.ts', 'export default 1;'],
  ['no-restricted-properties', 'src/sessions/i.ts', 'export const now = () => Date.now();'],
  ['no-restricted-properties', 'src/cli/j.ts', 'export const chance = () => Math.random();'],
  ['no-restricted-properties', 'src/config/k.ts', 'export const now = () => Date.now();'],
  ['no-restricted-properties', 'providers/one/l.ts', `export const key = process.env['KEY'];`],
  ['no-restricted-properties', 'src/ssh/m.ts', 'export const id = crypto.randomUUID();'],
  ['no-restricted-properties', 'src/ssh/m2.ts', 'export const signal = AbortSignal.timeout(5);'],
  ['no-restricted-imports', 'src/ssh/n.ts', `import { randomUUID } from 'node:crypto';\nexport const id = randomUUID();`],
  [
    'no-restricted-imports',
    'src/ssh/o.ts',
    `import { setTimeout } from 'node:timers/promises';\nexport const wait = setTimeout;`,
  ],
  ['no-restricted-globals', 'src/ssh/p.ts', 'export const wait = (then: () => void) => setTimeout(then, 5);'],
  ['no-restricted-globals', 'src/ssh/q.ts', 'export const wait = (then: () => void) => setInterval(then, 5);'],
  ['no-restricted-globals', 'src/ssh/r.ts', 'export const wait = (then: () => void) => setImmediate(then);'],
  ['no-restricted-globals', 'src/server/s.ts', `console.log('hello');`],
];

/** Homes and test code: none of these may be reported. */
const allowedLint: readonly (readonly [file: string, code: string])[] = [
  ['src/config/environment.ts', `export const environment = process.env;`],
  ['src/cli/print.ts', `console.log('hello');`],
  ['src/core/clock.ts', `export const now = () => Date.now();`],
  ['src/core/random.ts', `export const next = () => Math.random();`],
  ['src/db/write-queue.ts', `export const later = (then: () => void) => setImmediate(then);`],
  ['src/sessions/x.test.ts', `export const now = () => Date.now();`],
  ['test/support/x.ts', `console.log(process.env['HOME']);`],
  ['vitest.config.ts', 'export default {};'],
];

let importTree: string;
let lintTree: string;
let cruised: readonly { readonly rule: string; readonly from: string }[];
let linted: readonly { readonly code: string; readonly filename: string }[];

beforeAll(async () => {
  const rooms = importFaults.map(([, file]) => /^src\/([^/]+)\//.exec(file)?.[1]).filter((room) => room !== undefined);
  const targets = [
    ...rooms.map((room) => `src/${room}/target.ts`),
    'test/support/target.ts',
    'providers/one/index.ts',
    'providers/two/index.ts',
  ];
  importTree = await plantedTree([
    ...targets.map((file) => [file, ''] as const),
    ...allowedImports,
    ...importFaults.map(([, file, line]) => [file, line] as const),
  ]);
  lintTree = await plantedTree([...allowedLint, ...lintFaults.map(([, file, code]) => [file, code] as const)]);
  const [cruise, lint] = await Promise.all([
    output(importTree, 'dependency-cruiser/bin/dependency-cruise.mjs', [
      '--config',
      '.dependency-cruiser.mjs',
      '--output-type',
      'json',
      'src',
      'providers',
      'test',
    ]),
    output(lintTree, 'oxlint/bin/oxlint', [
      '--type-aware',
      '--deny-warnings',
      '--format',
      'json',
      'src',
      'providers',
      'test',
      'vitest.config.ts',
    ]),
  ]);
  // The two shapes are those of the pinned tools; a change of them fails every test below.
  const report = JSON.parse(cruise) as { summary: { violations: { rule: { name: string }; from: string }[] } };
  cruised = report.summary.violations.map(({ rule, from }) => ({ rule: rule.name, from }));
  linted = (JSON.parse(lint) as { diagnostics: { code: string; filename: string }[] }).diagnostics;
}, 60_000);

afterAll(async () => {
  await Promise.all([importTree, lintTree].map((folder) => rm(folder, { recursive: true, force: true })));
});

describe('the import check', () => {
  it.each(importFaults)('%s: reports %s (%s)', (rule, file) => {
    expect(cruised.filter(({ from }) => from === file).map((violation) => violation.rule)).toContain(rule);
  });

  it.each(allowedImports.filter(([file]) => file !== 'src/core/round.ts'))('allows %s', (file) => {
    expect(cruised.filter(({ from }) => from === file)).toEqual([]);
  });
});

describe('the linter', () => {
  it.each(lintFaults)('%s: reports %s (%s)', (rule, file) => {
    expect(linted.filter(({ filename }) => filename === file).map(({ code }) => code)).toContainEqual(
      expect.stringContaining(`(${rule})`),
    );
  });

  it.each(allowedLint)('allows %s', (file) => {
    expect(linted.filter(({ filename }) => filename === file)).toEqual([]);
  });
});

async function plantedTree(files: readonly (readonly [file: string, content: string])[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-gates-'));
  await Promise.all(
    ['package.json', 'tsconfig.json', '.oxlintrc.json', '.dependency-cruiser.mjs'].map((file) =>
      copyFile(join(root, file), join(folder, file)),
    ),
  );
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const [file, content] of files) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(
      join(folder, file),
      content.startsWith('export') || file.startsWith('test/support/x') || file === 'src/cli/print.ts'
        ? content
        : `${content}\nexport {};\n`,
    );
  }
  return folder;
}

/** The paths are named: a linter that is let loose on the folder follows the link into node_modules. Gives the standard output of a tool that is expected to find faults, and so to exit with an error. */
function output(cwd: string, tool: string, args: readonly string[]): Promise<string> {
  return new Promise((done, fail) => {
    execFile(
      process.execPath,
      [join(root, 'node_modules', tool), ...args],
      { cwd, maxBuffer: 64 * 2 ** 20, timeout: 40_000 },
      (error, stdout, stderr) => {
        if (stdout === '') fail(new Error(`${tool} printed nothing: ${stderr}`, { cause: error }));
        else done(stdout);
      },
    );
  });
}
