import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../core/secret.ts';

/** Who is asking, as the key that was shown proves it. */
export interface Principal {
  readonly consumerId: string;
  /** For the log; no part of the key. */
  readonly keyName: string;
}

export interface ApiKeys {
  /** Whether a key is asked for at all. */
  readonly areRequired: boolean;
  /** Whose key it is; undefined for a key that nobody has. */
  authenticate(presented: string): Principal | undefined;
}

interface ApiKey {
  readonly name: string;
  readonly consumerId: string;
  readonly secret: Secret<string>;
}

/**
 * The keys of the configuration. Every check hashes what was presented and compares it with all of them, so that its duration tells
 * neither whether a key is nearly right nor whose it would be (REL-L1). SHA-256 suffices: keys are random, not chosen by people.
 */
export function createApiKeys(keys: readonly ApiKey[]): ApiKeys {
  const known = keys.map(({ name, consumerId, secret }) => ({
    principal: { consumerId, keyName: name },
    hash: sha256(secret.reveal()),
  }));
  return {
    areRequired: known.length > 0,
    authenticate: (presented) => {
      const hash = sha256(presented);
      let found: Principal | undefined;
      for (const key of known) {
        if (timingSafeEqual(key.hash, hash)) found = key.principal;
      }
      return found;
    },
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
