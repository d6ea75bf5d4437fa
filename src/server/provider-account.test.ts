import { expect, it } from 'vitest';
import { Secret } from '../core/secret.ts';
import { providerAccount } from './provider-account.ts';

const key = new Secret(new Uint8Array(32).fill(1));
const block = (secret: string, address = 'https://one.example/') => ({
  id: 'market',
  environment: { KEY: new Secret(secret), ADDRESS: new URL(address), LIMIT: 64, UNSET: undefined },
});

it('is the same in every process of one configuration, whatever the order of its settings', () => {
  const { environment } = block('k1');
  const turned = Object.fromEntries(Object.entries(environment).toReversed());

  expect(providerAccount(block('k1'), key)).toBe(providerAccount({ id: 'market', environment: turned }, key));
  expect(providerAccount(block('k1'), key)).toMatch(/^[0-9a-f]{12}$/);
});

it('is another for another credential, another address, another provider and another installation', () => {
  const accounts = [
    providerAccount(block('k1'), key),
    providerAccount(block('k2'), key),
    providerAccount(block('k1', 'https://two.example/'), key),
    providerAccount({ ...block('k1'), id: 'other' }, key),
    providerAccount(block('k1'), new Secret(new Uint8Array(32).fill(2))),
  ];

  expect(new Set(accounts).size).toBe(accounts.length);
});
