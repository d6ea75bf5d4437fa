import { describe, expect, it } from 'vitest';
import { createPageCache } from './page-cache.ts';

describe('createPageCache', () => {
  it('gives a value back for its key and versions only', () => {
    const cache = createPageCache<string>({ maxEntries: 10, maxBytes: 1_000 });

    cache.set('query', 'v1', 'page', 10);

    expect([cache.get('query', 'v1'), cache.get('query', 'v2'), cache.get('other', 'v1')]).toEqual([
      'page',
      undefined,
      undefined,
    ]);
  });

  it('forgets what was unused for longest when there are too many', () => {
    const cache = createPageCache<string>({ maxEntries: 2, maxBytes: 1_000 });
    cache.set('a', 'v', 'A', 1);
    cache.set('b', 'v', 'B', 1);
    cache.get('a', 'v');

    cache.set('c', 'v', 'C', 1);

    expect([cache.get('a', 'v'), cache.get('b', 'v'), cache.get('c', 'v')]).toEqual(['A', undefined, 'C']);
  });

  it('keeps within its bytes, counting a replaced value once', () => {
    const cache = createPageCache<string>({ maxEntries: 100, maxBytes: 80 });
    for (let round = 0; round < 50; round += 1) cache.set('same', `v${round}`, 'page', 10);
    for (let key = 0; key < 7; key += 1) cache.set(`k${key}`, 'v', 'page', 10);
    expect(cache.get('same', 'v49')).toBe('page');

    cache.set('one more', 'v', 'page', 10);

    expect(cache.get('k0', 'v')).toBeUndefined();
    expect(cache.get('same', 'v49')).toBe('page');
  });

  it('does not keep one value that would push out most others', () => {
    const cache = createPageCache<string>({ maxEntries: 100, maxBytes: 80 });
    cache.set('small', 'v', 'page', 10);

    cache.set('huge', 'v', 'pages', 11);

    expect([cache.get('small', 'v'), cache.get('huge', 'v')]).toEqual(['page', undefined]);
  });
});
