// Compiles src/ and providers/ into dist/. `prepare` calls it too, so it must also be harmless where only production packages are installed.
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { packageScript, root, runNode } from './lib/commands.mjs';

const dist = join(root, 'dist');
const bin = join(dist, 'src/cli/main.js');
const compiler = packageScript('typescript', 'bin/tsc');

if (!existsSync(compiler)) {
  const state = existsSync(bin)
    ? 'the dist/ that is here is used as it is'
    : 'and there is no dist/ yet: run npm ci with development packages, or copy a built dist/ here';
  console.log(`build: skipped, TypeScript is not installed; ${state}`);
  process.exit(0);
}

const { code, output } = await runNode(compiler, [
  '-p',
  'tsconfig.build.json',
  '--noEmitOnError',
  '--listEmittedFiles',
  '--pretty',
  'false',
]);
const emitted = new Set();
const complaints = [];
for (const line of output.split('\n')) {
  if (line.startsWith('TSFILE: ')) emitted.add(resolve(root, line.slice('TSFILE: '.length)));
  else if (line !== '') complaints.push(line);
}
if (code !== 0) {
  console.error(complaints.join('\n'));
  console.error('build: failed; dist/ was left as it was');
  process.exit(1);
}
if (!emitted.has(bin)) {
  console.error('build: failed, src/cli/main.ts gave no dist/src/cli/main.js, which package.json names as the program');
  process.exit(1);
}

// What an earlier build made and this one did not belongs to a source file that is gone.
for (const file of readdirSync(dist, { recursive: true })) {
  const path = join(dist, file);
  if (statSync(path).isFile() && !emitted.has(path)) rmSync(path);
}
chmodSync(bin, 0o755);
console.log(`build: ${emitted.size / 2} modules in dist/`);
