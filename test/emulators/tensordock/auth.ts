import type { Call, Reply } from '../kit/http-server.ts';
import { failure } from './answers.ts';
import type { World } from './world.ts';

/** Who asks. */
export type Identity = 'organisation' | 'stranger' | 'nobody';

export interface KeyRing {
  readonly apiToken: string;
  readonly authorizationId: string;
  addKey(): string;
  revoke(token: string): void;
  restore(token: string): void;
  identify(call: Call): Identity;
}

export function createKeyRing({ apiToken, authorizationId }: { apiToken: string; authorizationId: string }): KeyRing {
  const tokens = new Set([apiToken]);
  const revoked = new Set<string>();
  const opens = (token: string) => tokens.has(token) && !revoked.has(token);
  return {
    apiToken,
    authorizationId,
    addKey() {
      const token = `${apiToken}-${tokens.size}`;
      tokens.add(token);
      return token;
    },
    revoke: (token) => void revoked.add(token),
    restore: (token) => void revoked.delete(token),
    identify({ headers, query, text, path }) {
      const bearer = /^Bearer\s+(\S+)/i.exec(headers['authorization'] ?? '')?.[1];
      if (bearer !== undefined) return opens(bearer) ? 'organisation' : 'stranger';
      const form = path.startsWith('/api/v0/') ? new URLSearchParams(text) : query;
      const [id, token] = [form.get('api_key'), form.get('api_token')];
      if (id === null && token === null) return 'nobody';
      return id === authorizationId && opens(token ?? '') ? 'organisation' : 'stranger';
    },
  };
}

/** v2 takes the header everywhere; the inventory also takes a pair in the query, or nothing. Code and body are not agreed on. */
export function refuseAtDoor(
  world: World,
  identity: Identity,
  { door, call }: { readonly door: 'token' | 'open' | 'v0'; readonly call: Call },
): Reply | undefined {
  if (door === 'v0')
    return identity === 'organisation' ? undefined : { status: 200, json: { success: false, error: 'Invalid API key' } };
  const isByHeader = call.headers['authorization'] !== undefined;
  if (identity === 'organisation' && (isByHeader || door === 'open')) return undefined;
  if (identity === 'nobody' && door === 'open') return undefined;
  const status = identity === 'stranger' ? world.shapes.wrongToken : 401;
  if (world.shapes.authError === 'json') return failure(status, 'Invalid API credentials');
  return { status, text: status === 401 ? 'Unauthorized' : 'Forbidden', contentType: 'text/plain' };
}
