import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseApiKeyList } from '../config/api-key-list.ts';
import { API_KEY_BYTES, generateApiKey, parseApiKey } from './api-key-format.ts';

describe('generateApiKey', () => {
  it('makes a key that a scanner finds by its prefix, and that configuration takes', () => {
    const key = generateApiKey(randomBytes(API_KEY_BYTES));

    expect(key).toMatch(/^berth_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
    expect(parseApiKeyList(`ci=${key}`)).toMatchObject({ ok: true });
  });

  it('puts all of the randomness into it', () => {
    const bytes = randomBytes(API_KEY_BYTES);
    const keys = Array.from(bytes, (byte, index) => {
      const changed = Uint8Array.from(bytes);
      changed[index] = byte ^ 1;
      return generateApiKey(changed);
    });

    expect(new Set([...keys, generateApiKey(bytes)]).size).toBe(API_KEY_BYTES + 1);
  });

  it('refuses any other number of bytes', () => {
    expect(() => generateApiKey(randomBytes(32))).toThrow(RangeError);
  });
});

describe('parseApiKey', () => {
  it('tells the part that may be shown', () => {
    const key = generateApiKey(randomBytes(API_KEY_BYTES));

    expect(parseApiKey(key)).toEqual({ id: key.slice(6, 18) });
  });

  it('notices a typo anywhere', () => {
    const key = generateApiKey(new Uint8Array(API_KEY_BYTES).fill(7));

    for (let index = 0; index < key.length; index += 1) {
      const typo = `${key.slice(0, index)}${key[index] === 'a' ? 'b' : 'a'}${key.slice(index + 1)}`;
      expect(parseApiKey(typo), typo).toBeUndefined();
    }
  });
});
