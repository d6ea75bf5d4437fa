import { createHmac } from 'node:crypto';
import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import { Secret } from '../core/secret.ts';

/**
 * Names the account, and the way it is asked, that a provider's block of settings stands for: replicas of one configuration agree on it, so that one
 * of them lists for all; after a change of the key or of the market's address nothing is shown that another account was offered.
 * It is no secret: made with the key-encryption key, which every replica has, it tells nothing of a credential, not even of a guessed one.
 */
export function providerAccount(
  { id, environment }: Pick<ConfiguredProvider, 'id' | 'environment'>,
  key: Secret<Uint8Array>,
): string {
  const settings = Object.entries(environment)
    .filter(([, value]) => value !== undefined)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => [name, plain(value)]);
  return createHmac('sha256', key.reveal())
    .update(`berth provider account\0${JSON.stringify([id, settings])}`)
    .digest('hex')
    .slice(0, 12);
}

function plain(value: unknown): unknown {
  return value instanceof Secret ? value.reveal() : value instanceof URL ? value.href : value;
}
