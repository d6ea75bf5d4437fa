import { describe, expect, it } from 'vitest';
import { beginnings } from './stories/beginnings.ts';
import { destroys } from './stories/destroys.ts';
import { endings } from './stories/endings.ts';
import { lives } from './stories/lives.ts';
import { looks } from './stories/looks.ts';
import { machines } from './stories/machines.ts';

describe('the stories of the crash points', () => {
  it('are at least seventy, and each has a name of its own', () => {
    const names = [...beginnings, ...endings, ...machines, ...destroys, ...looks, ...lives].map(({ name }) => name);

    expect(names.length).toBeGreaterThanOrEqual(70);
    expect(new Set(names).size).toBe(names.length);
  });
});
