import { describe, expect, it } from 'vitest';
import { formatCpuList, parseCpuList } from './cpu-list.ts';

describe('a list of CPUs', () => {
  it.each([
    ['0', [0]],
    ['0-3,8\n', [0, 1, 2, 3, 8]],
    ['2,4-5', [2, 4, 5]],
  ])('%j names %j', (list, ids) => {
    expect(parseCpuList(list)).toEqual(ids);
  });

  it.each(['', 'all', '1-', '3-1', '-1', '1,,2'])('%j names none', (list) => {
    expect(parseCpuList(list)).toBeUndefined();
  });

  it('is written in order and without repetition', () => {
    expect(formatCpuList([3, 1, 3, 0])).toBe('0,1,3');
  });
});
