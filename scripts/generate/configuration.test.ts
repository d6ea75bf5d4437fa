import { describe, expect, it } from 'vitest';
import { providerModules } from '../../providers/index.ts';
import { listSettings } from '../../src/config/list-settings.ts';
import { render } from './configuration.ts';

describe('docs/configuration.md', () => {
  it('has a row for every variable, with its other names and its default', async () => {
    const page = await render();

    for (const { variable, aliases = [], default: fallback } of listSettings().flatMap((section) => section.settings)) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${variable}\``));
      expect(row, variable).toBeDefined();
      for (const text of [...aliases, ...(fallback === undefined ? [] : [fallback])]) expect(row).toContain(`\`${text}\``);
    }
    for (const variable of providerModules.flatMap(({ environment }) => Object.keys(environment.shape))) {
      expect(page).toContain(`| \`${variable}\``);
    }
  });
});
