import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseLenientList } from './lenient-list.ts';

const Row = z.object({ id: z.number(), price: z.number() });

describe('parseLenientList', () => {
  it('drops and counts the rows that cannot be read and keeps the others in order', () => {
    const { rows, dropped } = parseLenientList(
      [{ id: 1, price: 2 }, null, { id: 'x', price: 1 }, { id: 2, price: 3, more: true }],
      Row,
    );

    expect(rows).toEqual([
      { id: 1, price: 2 },
      { id: 2, price: 3 },
    ]);
    expect(dropped).toBe(2);
  });

  it('names the first fault by row and field without a value of the vendor', () => {
    const { firstFault } = parseLenientList(
      [
        { id: 1, price: 2 },
        { id: 2, price: 'api_key=s3cret' },
      ],
      Row,
    );

    expect(firstFault).toBe('1.price: invalid_type');
  });

  it('caps the length and counts what lies past it', () => {
    const { rows, dropped, firstFault } = parseLenientList(
      Array.from({ length: 5 }, (_, id) => ({ id, price: 1 })),
      Row,
      { limit: 3 },
    );

    expect(rows.map(({ id }) => id)).toEqual([0, 1, 2]);
    expect(dropped).toBe(2);
    expect(firstFault).toBe('2 rows past the limit of 3');
  });

  it('reads an empty list as an empty list', () => {
    expect(parseLenientList([], Row)).toEqual({ rows: [], dropped: 0, firstFault: undefined });
  });
});
