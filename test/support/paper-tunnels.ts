import type { SessionId } from '../../src/core/ids.ts';
import type { TunnelRoute, TunnelServer } from '../../src/tunnel/tunnel-server.ts';

/** Tunnels on paper, for worlds in which nobody connects: every port can be listened on, but those that a test has taken. */
export function createPaperTunnels() {
  const routes = new Map<SessionId, TunnelRoute>();
  const admitting = new Set<SessionId>();
  const takenPorts = new Set<number>();
  const close = (id: SessionId) => {
    routes.delete(id);
    admitting.delete(id);
  };
  return {
    /** Ports that another program holds. */
    takenPorts,
    isAdmitting: (id: SessionId) => admitting.has(id),
    open: async (route) => {
      close(route.sessionId);
      if (takenPorts.has(route.port)) return { kind: 'taken' };
      routes.set(route.sessionId, route);
      return { kind: 'open' };
    },
    admit: (id) => void admitting.add(id),
    close,
    routes: () => [...routes.values()],
  } satisfies Pick<TunnelServer, 'open' | 'admit' | 'close' | 'routes'> & Record<string, unknown>;
}

export type PaperTunnels = ReturnType<typeof createPaperTunnels>;
