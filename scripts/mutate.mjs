// npm run mutate -- decisions|money|mapping [arguments of stryker]   changes the code in small ways, one at a time, and tells which change no test
// notices; exits 1 when the score is below that of its group. Reports: .tmp/mutation. See docs/mutation-testing.md.
import { packageScript, runNode } from './lib/commands.mjs';
import { groups } from './lib/mutation-groups.mjs';

const [wanted = '', ...strykerArguments] = process.argv.slice(2);
const names = Object.keys(groups).filter((name) => name === wanted || name.startsWith(`${wanted}-`));
if (names.length === 0) {
  console.error(`npm run mutate: name one of ${Object.keys(groups).join(', ')}, or mapping for the last three`);
  process.exit(2);
}

let hasFailed = false;
for (const name of names) {
  console.log(`mutation testing: ${name}`);
  const stryker = packageScript('@stryker-mutator/core', 'bin/stryker.js');
  const { code } = await runNode(stryker, ['run', ...strykerArguments], { show: true, env: { MUTATION_GROUP: name } });
  hasFailed ||= code !== 0;
}
process.exit(hasFailed ? 1 : 0);
