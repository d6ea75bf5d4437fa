import { describe, expect, it } from 'vitest';
import { parseApiKeyList } from '../config/api-key-list.ts';
import { createApiKeys } from './api-keys.ts';

function keysOf(text: string) {
  const list = parseApiKeyList(text);
  if (!list.ok) throw new Error(list.rules.join());
  return createApiKeys(list.value);
}

describe('createApiKeys', () => {
  it('tells whose key it is', () => {
    const keys = keysOf('alice=0123456789abcdef-a,alice=0123456789abcdef-b,0123456789abcdef-c');

    expect(keys.authenticate('0123456789abcdef-a')).toEqual({ consumerId: 'alice', keyName: 'alice-1' });
    expect(keys.authenticate('0123456789abcdef-b')).toEqual({ consumerId: 'alice', keyName: 'alice-2' });
    expect(keys.authenticate('0123456789abcdef-c')).toEqual({ consumerId: 'default', keyName: 'default-1' });
  });

  it.each([
    '',
    '0123456789abcdef',
    '0123456789abcdef-aa',
    '0123456789abcdef-A',
    'alice=0123456789abcdef-a',
    '\0'.repeat(100_000),
  ])('REL-L1: knows nobody by a key that is nearly right, long or empty', (presented) => {
    expect(keysOf('alice=0123456789abcdef-a').authenticate(presented)).toBeUndefined();
  });

  it('asks nobody for a key when there is none, and lets nobody in by one', () => {
    const keys = createApiKeys([]);

    expect(keys.areRequired).toBe(false);
    expect(keys.authenticate('0123456789abcdef')).toBeUndefined();
    expect(keysOf('0123456789abcdef').areRequired).toBe(true);
  });
});
