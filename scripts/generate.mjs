// Writes the files that are made from code, each by one module of scripts/generate/. With --check it writes nothing and fails where one has drifted.
// A module exports `file`, the path that it is about, and `render()`, which gives the file's whole text; it may be asynchronous.
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as prettier from 'prettier';
import { tsImport } from 'tsx/esm/api';
import { root } from './lib/commands.mjs';

/** A generator gets its line here when it is written, so that none is passed over in silence. */
const generators = [
  'env-example.ts', // .env.example
  'configuration.ts', // docs/configuration.md
  'metrics.ts', // docs/metrics.md
  'readme-configuration.ts', // the table in README.md
  'openapi.ts', // openapi/openapi.json
];

const check = process.argv.includes('--check');
const drifted = [];
for (const generator of generators) {
  const { file, rendered } = await renderWith(generator);
  const path = join(root, file);
  const present = existsSync(path) ? await readFile(path, 'utf8') : undefined;
  if (present === rendered) continue;
  drifted.push(file);
  if (check) {
    console.error(`${file} ${present === undefined ? 'is missing' : firstDifference(present, rendered)}`);
  } else {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, rendered);
    console.log(`generate: wrote ${file}`);
  }
}
if (check && drifted.length > 0) {
  console.error(
    `generate: ${drifted.join(', ')} differ from the code they are made from; run npm run generate and commit what it writes`,
  );
  process.exit(1);
}
console.log(`generate: ${generators.length} files ${check ? 'are as the code says' : `looked at, ${drifted.length} written`}`);

async function renderWith(generator) {
  const { file, render } = await tsImport(pathToFileURL(join(root, 'scripts/generate', generator)).href, import.meta.url);
  const text = await render();
  const { inferredParser } = await prettier.getFileInfo(join(root, file), { ignorePath: join(root, '.prettierignore') });
  if (inferredParser === null) return { file, rendered: text };
  return {
    file,
    rendered: await prettier.format(text, { ...(await prettier.resolveConfig(join(root, file))), filepath: file }),
  };
}

function firstDifference(present, rendered) {
  const before = present.split('\n');
  const after = rendered.split('\n');
  const line = after.findIndex((text, index) => text !== before[index]);
  const at = line === -1 ? after.length : line;
  return `differs from line ${at + 1}:\n  - ${before[at] ?? '(end)'}\n  + ${after[at] ?? '(end)'}`;
}
