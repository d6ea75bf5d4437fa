import type { SessionId } from '../core/ids.ts';
import type { TunnelConnection } from './tunnel-connection.ts';

/** Why a connection was not taken at all. A closed list: metrics have it as a label. */
export const REFUSALS = ['too_many', 'too_many_of_session', 'too_many_young'] as const;

export type Refusal = (typeof REFUSALS)[number];

export interface RoomLimits {
  /** Connections at once, over all sessions. */
  readonly all: number;
  readonly ofSession: number;
  /** The same for those before both sides have spoken. */
  readonly young: number;
  readonly youngOfSession: number;
}

export const ROOM_LIMITS = { ofSession: 100, young: 300, youngOfSession: 50 } as const;

type Counted = Pick<TunnelConnection, 'sessionId' | 'isYoung' | 'isSilent'>;

export type Room<Connection> =
  | { readonly kind: 'free' }
  /** That one has to go first. */
  | { readonly kind: 'instead_of'; readonly silent: Connection }
  | { readonly kind: 'none'; readonly refusal: Refusal };

/**
 * Whether there is room for one more connection of a session. Whoever holds connections open without a word never keeps others out: where
 * there is no room, one of the silent goes, the oldest of the session that has the most of them. `connections` stand in their order.
 */
export function roomFor<Connection extends Counted>(
  sessionId: SessionId,
  connections: Iterable<Connection>,
  limits: RoomLimits,
): Room<Connection> {
  const all = [...connections];
  const own = all.filter((each) => each.sessionId === sessionId);
  const refusals: [isFull: boolean, refusal: Refusal, among: readonly Connection[]][] = [
    [own.length >= limits.ofSession, 'too_many_of_session', own],
    [countYoung(own) >= limits.youngOfSession, 'too_many_young', own],
    [all.length >= limits.all, 'too_many', all],
    [countYoung(all) >= limits.young, 'too_many_young', all],
  ];
  for (const [isFull, refusal, among] of refusals) {
    if (!isFull) continue;
    const silent = oldestSilent(among);
    return silent ? { kind: 'instead_of', silent } : { kind: 'none', refusal };
  }
  return { kind: 'free' };
}

function countYoung(connections: readonly Counted[]): number {
  return connections.filter((each) => each.isYoung()).length;
}

function oldestSilent<Connection extends Counted>(connections: readonly Connection[]): Connection | undefined {
  const silentOf = new Map<SessionId, Connection[]>();
  for (const each of connections) {
    if (!each.isSilent()) continue;
    const others = silentOf.get(each.sessionId);
    if (others) others.push(each);
    else silentOf.set(each.sessionId, [each]);
  }
  let most: readonly Connection[] = [];
  for (const silent of silentOf.values()) if (silent.length > most.length) most = silent;
  return most[0];
}
