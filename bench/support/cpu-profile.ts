import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Row } from './table.ts';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { functionName: string; url: string; lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** The functions of the newest profile in a folder that took the most time by themselves, idling left out: `[function, percent, ms]`. */
export async function topFunctions(folder: string, count: number): Promise<Row[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.cpuprofile')).toSorted();
  const newest = files.at(-1);
  if (newest === undefined) return [];
  const profile = JSON.parse(await readFile(join(folder, newest), 'utf8')) as Profile; // V8's own format
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const micros = new Map<string, number>();
  let busy = 0;
  for (const [index, id] of profile.samples.entries()) {
    const frame = frames.get(id);
    const delta = profile.timeDeltas[index] ?? 0;
    if (!frame || frame.functionName === '(idle)' || frame.functionName === '(root)') continue;
    const name = nameOf(frame);
    micros.set(name, (micros.get(name) ?? 0) + delta);
    busy += delta;
  }
  return [...micros]
    .toSorted(([, one], [, other]) => other - one)
    .slice(0, count)
    .map(([name, time]) => [name, `${((100 * time) / busy).toFixed(1)} %`, (time / 1_000).toFixed(0)]);
}

function nameOf({ functionName, url, lineNumber }: Profile['nodes'][number]['callFrame']): string {
  const place = url
    .replace(/^file:\/\//, '')
    .replace(/^.*\/node_modules\//, '')
    .replace(/^.*\/dist\//, '');
  return `${functionName || '(anonymous)'}${place === '' ? '' : ` ${place}:${lineNumber + 1}`}`;
}
