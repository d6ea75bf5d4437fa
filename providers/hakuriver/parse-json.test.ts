import { describe, expect, it } from 'vitest';
import { parseJson } from './parse-json.ts';

describe('parseJson', () => {
  it('keeps a task id of 63 bits that comes as a bare number', () => {
    expect(parseJson('[{"task_id":7530111069344235521,"exit_code":-1,"required_cores":2}]')).toEqual([
      { task_id: '7530111069344235521', exit_code: -1, required_cores: 2 },
    ]);
  });

  it.each([
    [
      '{"memory_total_mib":24564.0,"cpu_percent":97.80000000000001}',
      { memory_total_mib: 24_564, cpu_percent: 97.80000000000001 },
    ],
    ['"7530111069344235520"', '7530111069344235520'],
    ['9007199254740991', 9_007_199_254_740_991],
    ['9007199254740993', '9007199254740993'],
    ['null', null],
  ])('reads %s', (text, value) => {
    expect(parseJson(text)).toEqual(value);
  });

  it.each(['', '  ', 'Internal Server Error', '<html></html>', '{"a":', "[{'a': 1}]"])('says of %j that it is none', (text) => {
    expect(parseJson(text)).toBeUndefined();
  });
});
