import { describe, expect, it } from 'vitest';
import { parseHostKey } from './host-key.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f';

describe('a host key file of a container', () => {
  it('is read without its comment', () => {
    expect(parseHostKey(`${KEY} root@container\n`)).toBe(KEY);
    expect(parseHostKey(KEY)).toBe(KEY);
  });

  it.each([
    ['nothing', ''],
    ['another type', 'ssh-rsa AAAAB3NzaC1yc2E='],
    ['a type that the blob does not have', 'ssh-ed25519 AAAAB3NzaC1yc2EAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f'],
    ['a blob that is cut short', KEY.slice(0, -8)],
    ['an order to ssh', '@cert-authority * ssh-ed25519 AAAA'],
    ['noise', '\u0000\u0001ssh-ed25519'],
  ])('is no key when it holds %s', (_, file) => {
    expect(parseHostKey(file)).toBeUndefined();
  });
});
