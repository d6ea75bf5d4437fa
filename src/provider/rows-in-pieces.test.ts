import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eachRowInPieces } from './rows-in-pieces.ts';

const filler = 'x'.repeat(700);
const manyRows = (make: (at: number) => unknown, count = 800) => Array.from({ length: count }, (_, at) => make(at));

/** How often it paused, and what came out. */
function read(text: string) {
  const rows: unknown[] = [];
  const work = eachRowInPieces(text, 'offers', (row) => rows.push(row));
  let pauses = 0;
  for (let step = work.next(); ; step = work.next()) {
    if (step.done) return { pauses, rows: step.value === rows.length ? rows : undefined };
    pauses += 1;
  }
}

describe('rows in pieces', () => {
  it('are those of JSON.parse, with a pause every so often', () => {
    const rows = manyRows((at) => ({ at, filler, nested: [{ a: 1 }, { b: [{}, {}] }], text: '},{"offers":[' }));
    const { rows: found, pauses } = read(JSON.stringify({ success: true, note: 'a "quoted" word', offers: rows, total: 800 }));

    expect(found).toEqual(rows);
    expect(pauses).toBeGreaterThan(3);
  });

  it('are the same whatever the white space', () => {
    const rows = manyRows((at) => ({ at, filler }));

    expect(read(JSON.stringify({ offers: rows }, null, 2)).rows).toEqual(rows);
  });

  it.each([
    ['a list that is not the first thing with depth', { search: { offers: [1] }, offers: manyRows((at) => ({ at, filler })) }],
    ['rows that are no objects', { offers: manyRows((at) => `${at}${filler}`) }],
    ['a list of lists', { offers: manyRows((at) => [{ at, filler }]) }],
    ['rows full of ends that are none', { offers: manyRows((at) => ({ at, text: '}, '.repeat(300) })) }],
    ['one endless row', { offers: [{ parts: manyRows((at) => ({ at, filler })) }] }],
    ['an empty list before much else', { offers: [], other: manyRows((at) => ({ at, filler })) }],
  ])('are right for %s', (_name, body) => {
    expect(read(JSON.stringify(body)).rows).toEqual(body.offers);
  });

  it.each([
    ['no JSON at all', `{"offers":[${'{"a":1},'.repeat(100_000)}`],
    ['a list that breaks off', JSON.stringify({ offers: manyRows((at) => ({ at, filler })) }).slice(0, -700)],
    ['something behind the end', `${JSON.stringify({ offers: manyRows((at) => ({ at, filler })) })}]`],
    ['another list', JSON.stringify({ rows: manyRows((at) => ({ at, filler })) })],
    ['a list at the top', JSON.stringify(manyRows((at) => ({ at, filler })))],
    ['nothing', ''],
  ])('REL-K4: are none in %s', (_name, text) => {
    expect(read(text).rows).toBeUndefined();
  });

  it('are those of JSON.parse for any rows', () => {
    const row = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), (some) => {
        const offers = Array.from({ length: 500 }, () => [...some, { filler }]).flat();
        const text = JSON.stringify({ offers });
        expect(read(text).rows).toEqual((JSON.parse(text) as { offers: unknown }).offers);
      }),
      { numRuns: 20 },
    );
  });
});
