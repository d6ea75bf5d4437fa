import { describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../core/duration.ts';
import type { Absence } from '../db/tables.ts';
import { CLOUD } from './fixtures/session-records.ts';
import { isAbsent, withAbsence } from './absence.ts';

const looks = (kind: Absence['kind'], ...minutes: number[]): Absence[] =>
  minutes.map((minute) => ({ at: minute * MINUTE_MS, kind }));
const inOrder = (absences: Absence[]) => absences.toSorted((a, b) => a.at - b.at);

describe('isAbsent', () => {
  it.each([
    ['nothing was looked for', [], false],
    ['one answer said so', looks('get', 0), false],
    ['two far apart said so', [...looks('get', 0), ...looks('list', 20)], false],
    ['three said so over fifteen minutes, by both calls', inOrder([...looks('get', 0, 15), ...looks('list', 7)]), true],
    ['three said so, but only by get', looks('get', 0, 7, 15), false],
    ['three said so, but only by list', looks('list', 0, 7, 15), false],
    ['many said so within fourteen minutes', inOrder([...looks('get', 0, 5, 10, 14), ...looks('list', 1, 6, 11)]), false],
    ['three said so, two of them within the same minute', inOrder([...looks('get', 0, 15), ...looks('list', 0.5)]), false],
    [
      'three said so, the last two exactly as far apart as counts',
      inOrder([...looks('get', 0, 15), ...looks('list', 14)]),
      true,
    ],
    ['three said so, the last two a little closer', inOrder([...looks('get', 0, 15), ...looks('list', 14.1)]), false],
    ['they are exactly spaced', inOrder([...looks('get', 0, 1, 15), ...looks('list', 1, 2)]), true],
  ] as const)('RULE-R6: %s → %s', (_, absences, verdict) => {
    expect(isAbsent({ absences, policy: CLOUD, instanceIdKnown: true })).toBe(verdict);
  });

  it('asks lists alone while no id is known, and counts nothing else then', () => {
    const absences = inOrder([...looks('get', 0), ...looks('list', 1, 7, 15.5)]);

    expect(isAbsent({ absences, policy: CLOUD, instanceIdKnown: false })).toBe(false);
    expect(isAbsent({ absences: [...absences, ...looks('list', 16)], policy: CLOUD, instanceIdKnown: false })).toBe(true);
  });

  it('takes all of it from the provider’s data', () => {
    const engine = { observations: 2, spacingMs: 1_000, windowMs: 2_000, kinds: ['get'] } as const;
    const absences: Absence[] = [
      { at: 0, kind: 'get' },
      { at: 2_000, kind: 'get' },
    ];

    expect(isAbsent({ absences, policy: engine, instanceIdKnown: true })).toBe(true);
    expect(isAbsent({ absences: absences.slice(0, 1), policy: engine, instanceIdKnown: true })).toBe(false);
  });
});

describe('withAbsence', () => {
  it('leaves out a look of the same kind that comes too soon, and hands back the very same list then', () => {
    const before = looks('get', 0);

    expect(withAbsence(before, { at: MINUTE_MS - 1, kind: 'get' }, CLOUD)).toBe(before);
    expect(withAbsence(before, { at: MINUTE_MS, kind: 'get' }, CLOUD)).toHaveLength(2);
    expect(withAbsence(before, { at: 1, kind: 'list' }, CLOUD)).toHaveLength(2);
  });

  it('leaves out a look from before the last one', () => {
    const before = looks('get', 10);

    expect(withAbsence(before, { at: 0, kind: 'get' }, CLOUD)).toBe(before);
  });

  it('keeps the first look and no more than 64, so that a kind that never comes does not make the row grow for ever', () => {
    let absences: readonly Absence[] = [];
    for (let minute = 0; minute < 500; minute += 1)
      absences = withAbsence(absences, { at: minute * MINUTE_MS, kind: 'get' }, CLOUD);

    expect(absences).toHaveLength(64);
    expect(absences[0]).toEqual({ at: 0, kind: 'get' });
    expect(absences.at(-1)).toEqual({ at: 499 * MINUTE_MS, kind: 'get' });
    expect(
      isAbsent({
        absences: withAbsence(absences, { at: 500 * MINUTE_MS, kind: 'list' }, CLOUD),
        policy: CLOUD,
        instanceIdKnown: true,
      }),
    ).toBe(true);
  });
});
