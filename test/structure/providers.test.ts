import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryFiles, root } from './source-files.ts';

// A provider is one folder, all alike; outside it stand two lines in providers/index.ts and its block in .env.example.

const files = repositoryFiles().filter((file) => file.startsWith('providers/'));
const folders = [...new Set(files.flatMap((file) => /^providers\/([^/]+)\//.exec(file)?.[1] ?? []))].sort();

describe('providers', () => {
  it('are there', () => {
    expect(folders.length).toBeGreaterThan(0);
  });

  it('are each listed in providers/index.ts by two lines, one import and one entry, and nothing else is', () => {
    const index = readFileSync(join(root, 'providers/index.ts'), 'utf8');
    const imported = [...index.matchAll(/^import \{ (\w+) \} from '\.\/([^/]+)\/index\.ts';$/gm)].map(([, name, folder]) => ({
      name: name ?? '',
      folder: folder ?? '',
    }));

    expect(imported.map(({ folder }) => folder).sort()).toEqual(folders);
    const withoutPaths = index.replace(/'[^']*'/g, "''");
    for (const { name } of imported) expect(withoutPaths.match(new RegExp(`\\b${name}\\b`, 'g'))).toHaveLength(2);
  });

  describe.each(folders)('%s', (id) => {
    it.each(['index.ts', 'provider.ts', 'README.md', `${id}.test.ts`])('has its %s', (file) => {
      expect(files).toContain(`providers/${id}/${file}`);
    });

    it('names its id after its folder', () => {
      expect(readFileSync(join(root, `providers/${id}/index.ts`), 'utf8')).toMatch(new RegExp(`\\bid: '${id}'`));
    });
  });
});
