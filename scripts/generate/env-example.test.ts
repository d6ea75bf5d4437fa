import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { providerModules } from '../../providers/index.ts';
import { listSettings } from '../../src/config/list-settings.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { file, render } from './env-example.ts';

const root = new URL('../../', import.meta.url);
const example = await readFile(new URL(file, root), 'utf8');
const lines = new Map([...example.matchAll(/^#([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));

describe('.env.example', () => {
  it('is what the schemas say: npm run generate writes it', async () => {
    expect(example).toBe(await render());
  });

  it('names every variable with its default', () => {
    for (const { variable, default: fallback } of listSettings().flatMap((section) => section.settings)) {
      expect(lines.get(variable), variable).toBe(fallback ?? '');
    }
  });

  it('changes nothing when all of it is taken as it stands', async () => {
    const modules = providerModules;
    const dotenvText = [...lines].map(([name, value]) => `${name}=${value}`).join('\n');

    const untouched = loadConfig({ environment: {}, modules });
    const copied = loadConfig({ environment: {}, dotenvText, modules });

    expect(copied).toMatchObject({ ok: true, warnings: [] });
    expect(JSON.stringify(copied)).toEqual(JSON.stringify(untouched));
  });
});
