import { describe, expect, it } from 'vitest';
import { complaintIn } from './complaint.ts';
import { validationFaults } from './fixtures/bodies.ts';

describe('a complaint', () => {
  const NONE = { isError: false, status: undefined, isValidation: false, words: '' };

  it.each<[unknown]>([[undefined], [null], ['text'], [7], [{}], [[]], [{ data: { id: 'x' } }]])('is not in %j', (json) => {
    expect(complaintIn(json)).toEqual(NONE);
  });

  it.each([null, '', ' ', false, 0, [], {}, undefined])('is not in an error that is %j', (nothing) => {
    expect(complaintIn({ error: nothing }).isError).toBe(false);
    expect(complaintIn({ errors: nothing }).isError).toBe(false);
  });

  it.each(['no', true, 1, ['no'], { code: 'no' }])('is in an error that is %j', (something) => {
    expect(complaintIn({ error: something }).isError).toBe(true);
    expect(complaintIn({ errors: something }).isError).toBe(true);
  });

  it.each([
    [{ status: 400 }, { isError: true, status: 400 }],
    [{ status: '599' }, { isError: true, status: 599 }],
    [{ status: 399 }, { isError: false, status: undefined }],
    [{ status: 600 }, { isError: false, status: undefined }],
    [{ status: 'running' }, { isError: false, status: undefined }],
    [{ success: false }, { isError: true, status: undefined }],
    [{ success: true }, { isError: false, status: undefined }],
    [{ success: 0 }, { isError: false, status: undefined }],
  ])('of %j is %j', (json, expected) => {
    expect(complaintIn(json)).toEqual({ ...NONE, ...expected });
  });

  it('is about our request where it lists faults in it, at the top or as the error', () => {
    const [first] = validationFaults;
    for (const json of [validationFaults, { error: validationFaults }, { errors: [first] }])
      expect(complaintIn(json)).toMatchObject({ isError: true, isValidation: true });
    expect(complaintIn(validationFaults).words).toBe(
      'SSH port (22) must be forwarded for Ubuntu VMs\ncustom\nstorage_gb must be at least 100\ntoo_small',
    );
  });

  it.each<[string, unknown[]]>([
    ['a list of texts', ['no']],
    ['a list of nothing', [null]],
    ['machines, which have ids', [{ id: 'a', message: 'booted' }]],
    ['rows without a message', [{ code: 'a' }]],
    ['faults and something else', [...validationFaults, { code: 'a' }]],
  ])('is not about our request where it is %s', (_, list) => {
    expect(complaintIn(list)).toEqual(NONE);
    expect(complaintIn({ error: list }).isValidation).toBe(false);
  });

  it('has the words of the fields that speak, and no others, which may echo keys of ours', () => {
    const json = {
      error: 'One',
      errors: ['Two', { message: 'Three' }],
      message: 'Four',
      detail: 'Five',
      msg: 'Six',
      code: 'seven',
      ssh_key: 'secret',
    };

    expect(complaintIn(json).words).toBe('One\nTwo\nThree\nFour\nFive\nSix\nseven');
    expect(complaintIn({ error: ' spaced ' }).words).toBe('spaced');
  });

  it('is cut where it is endless, wide or deep', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 'deep' : { error: nested(depth - 1) });

    expect(complaintIn({ error: 'x'.repeat(5_000) }).words).toHaveLength(4_000);
    expect(complaintIn({ error: 'x'.repeat(3_000), message: 'y'.repeat(3_000) }).words).toHaveLength(4_000);
    expect(complaintIn({ errors: Array.from({ length: 60 }, () => 'a') }).words.split('\n')).toHaveLength(50);
    expect(complaintIn({ errors: Array.from({ length: 49 }, () => 'a'), message: 'b', msg: 'c' }).words).toMatch(/\nb$/);
    expect(complaintIn({ errors: [[['deep']]] }).words).toBe('deep');
    expect(complaintIn({ errors: [[[['deep']]]] }).words).toBe('');
    expect(complaintIn(nested(4)).words).toBe('deep');
    expect(complaintIn(nested(5)).words).toBe('');
  });
});
