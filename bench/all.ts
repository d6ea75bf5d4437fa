// Every bench in turn, each in a process of its own: npx tsx bench/all.ts [name …]. Options of a bench are for that bench alone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './support/end-with-us.ts';

const NAMES = ['store', 'inventory', 'refresh', 'creates', 'ssh-running', 'start-up', 'tunnel'];
/** Far above what any takes, also on a machine with other work. */
const LONGEST_MS = 5 * 60_000;

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !NAMES.includes(name));
if (unknown.length > 0) {
  console.error(`there is no bench ${unknown.join(', ')}; there are ${NAMES.join(', ')}`);
  process.exit(2);
}

const failed: string[] = [];
for (const name of chosen.length > 0 ? chosen : NAMES) {
  console.log(`\n## ${name}\n`);
  const script = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script], { stdio: 'inherit' });
  endWithUs(child);
  const late = setTimeout(() => child.kill('SIGTERM'), LONGEST_MS);
  const [code] = await once(child, 'exit');
  clearTimeout(late);
  if (code !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`\nfailed: ${failed.join(', ')}`);
  process.exit(1);
}
