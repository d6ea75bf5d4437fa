import { ADAPTERS } from './adapters.ts';
import { nameOf, stagedBy, tell, tellingsOf } from './stories.ts';

// tell-seeds.ts ADAPTER FROM COUNT: tells these seeds of one adapter and prints a line of JSON for each, as scripts/conformance.mjs reads them.
const [name = '', from, seeds] = process.argv.slice(2);
const found = Object.entries(ADAPTERS).find(([each]) => each === name);
if (!found) throw new RangeError(`no adapter is called ${name}`);
const [, { adapter, open }] = found;

const { staged } = await stagedBy(open);
for (const telling of tellingsOf(staged, { from: Number(from), seeds: Number(seeds) })) {
  const { seed, story, mood } = telling;
  const about = { adapter, seed, story: story.id, mood };
  try {
    say({ ...about, ...(await tell(telling, open)) });
  } catch (error) {
    say({
      ...about,
      failure: `${nameOf(telling)}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    });
  }
}
process.exit(0); // whatever an emulator may still hold open

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
