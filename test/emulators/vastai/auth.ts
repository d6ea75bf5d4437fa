import type { Call, Reply } from '../kit/http-server.ts';
import { refusal } from './context.ts';
import type { Identity } from './identity.ts';
import type { World } from './world.ts';

export interface KeyRing {
  readonly apiKey: string;
  addKey(scopes: readonly string[]): string;
  revoke(key: string): void;
  restore(key: string): void;
  identify(world: World, call: Call): Identity;
}

export function createKeyRing(apiKey: string): KeyRing {
  const keys = new Map<string, readonly string[] | 'all'>([[apiKey, 'all']]);
  const revoked = new Set<string>();
  return {
    apiKey,
    addKey(scopes) {
      const key = `${apiKey}-scoped-${keys.size}`;
      keys.set(key, scopes);
      return key;
    },
    revoke: (key) => void revoked.add(key),
    restore: (key) => void revoked.delete(key),
    identify(world, call) {
      const sent = tokenOf(call);
      if (sent === undefined) return { kind: 'nobody' };
      const scopes = revoked.has(sent) ? undefined : keys.get(sent);
      if (scopes !== undefined) return { kind: 'account', scopes };
      const contract = [...world.contracts.values()].find(
        (each) => each.instanceKey === sent && each.destroyedAt === undefined,
      );
      return contract === undefined ? { kind: 'stranger' } : { kind: 'instance', contractId: contract.id };
    },
  };
}

export function tokenOf(call: Call): string | undefined {
  const bearer = /^Bearer\s+(\S+)/i.exec(call.headers['authorization'] ?? '')?.[1];
  return bearer ?? call.query.get('api_key') ?? undefined;
}

/** What an endpoint asks of who calls. */
export interface Door {
  readonly scope: string;
  /** What a wrong key is answered with: some endpoints say that nothing was found. */
  readonly badKey: 401 | 404;
  readonly isOpenToNobody?: boolean;
  /** The contract that the path names, for an instance's own key. */
  readonly contractId?: number;
}

export function refuseAtDoor(identity: Identity, door: Door): Reply | undefined {
  switch (identity.kind) {
    case 'nobody':
      return door.isOpenToNobody === true ? undefined : refusal(403, 'auth_error', 'This action requires login.');
    case 'stranger':
      return refusal(door.badKey, 'auth_error', 'Invalid user key');
    case 'instance':
      return identity.contractId === door.contractId ? undefined : refusal(403, 'auth_error', 'This key may not do that.');
    case 'account':
      return identity.scopes === 'all' || identity.scopes.includes(door.scope)
        ? undefined
        : refusal(403, 'auth_error', `The key lacks the permission ${door.scope}.`);
  }
}
