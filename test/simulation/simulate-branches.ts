import { Session } from 'node:inspector/promises';
import { NOT_TAKEN_HERE } from './not-taken-here.ts';

// simulate-branches.ts FROM COUNT: the branches of the decisions that no broker takes in these worlds, and what not-taken-here.ts lists in vain; one
// line of JSON. What a world never does, a thousand worlds do not show. Only statements count: what stands in for a missing value belongs to the unit tests.

const DECISIONS = /\/src\/(sessions\/(?:step|sights|endings|absence|billing|retry-rules|draft|recovery-mode))\.ts$/;
const LONGEST = 120;

const [from = 0, count = 0] = process.argv.slice(2).map(Number);
const inspector = new Session();
inspector.connect();
await inspector.post('Profiler.enable');
await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
// only what is loaded from now on is counted branch by branch
const { simulateWorld } = await import('./simulate-world.ts');
for (let seed = from; seed < from + count; seed += 1) await simulateWorld(seed);
process.stdout.write(`${JSON.stringify(await untaken())}\n`);
process.exit(0); // brokers that died wait for ever

async function untaken(): Promise<{ readonly untaken: readonly string[]; readonly listedInVain: readonly string[] }> {
  const { result } = await inspector.post('Profiler.takePreciseCoverage');
  await inspector.post('Debugger.enable');
  const found: string[] = [];
  const listed = new Set<RegExp>();
  for (const { url, scriptId, functions } of result) {
    const [, file] = DECISIONS.exec(url) ?? [];
    if (file === undefined) continue;
    const { scriptSource } = await inspector.post('Debugger.getScriptSource', { scriptId });
    for (const { functionName, ranges } of functions)
      for (const range of ranges.filter((each) => each.count === 0)) {
        const text = scriptSource.slice(range.startOffset, range.endOffset).replaceAll(/\s+/g, ' ').slice(0, LONGEST);
        if (/^[?&|:.=>]/.test(text)) continue;
        const where = `${file} ${functionName}: ${text}`;
        const reasons = NOT_TAKEN_HERE.filter(([pattern]) => pattern.test(where));
        for (const [pattern] of reasons) listed.add(pattern);
        if (reasons.length === 0) found.push(where);
      }
  }
  const inVain = NOT_TAKEN_HERE.filter(([pattern]) => !listed.has(pattern));
  return { untaken: found, listedInVain: inVain.map(([pattern]) => String(pattern)) };
}
