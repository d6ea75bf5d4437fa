import { once } from 'node:events';
import net from 'node:net';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Dial } from './reach-instance.ts';
import { roomFor, ROOM_LIMITS, type Refusal } from './room.ts';
import type { Direction } from './splice.ts';
import {
  createTunnelConnection,
  sayAndClose,
  YOUNG_LIMITS,
  type ConnectionEnd,
  type ConnectionLimits,
  type TunnelConnection,
} from './tunnel-connection.ts';

/** Where a port leads: one attempt of one session, for as long as it is open. */
export interface TunnelRoute {
  readonly sessionId: SessionId;
  readonly ordinal: number;
  readonly provider: ProviderId;
  readonly port: number;
  readonly dial: Dial;
}

/** `taken`: another program, or another broker, listens there. */
export type OpenOutcome =
  { readonly kind: 'open' } | { readonly kind: 'taken' } | { readonly kind: 'failed'; readonly message: string };

/** What the tunnel counts; the metrics implement it. */
export interface TunnelMetrics {
  tunnelBytes(passed: { readonly provider: ProviderId; readonly direction: Direction; readonly bytes: number }): void;
  tunnelRefused(refused: { readonly provider: ProviderId; readonly reason: Refusal }): void;
  tunnelEnded(ended: { readonly provider: ProviderId; readonly reason: ConnectionEnd }): void;
}

interface TunnelServerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: TunnelMetrics;
  readonly settings: {
    readonly host: string;
    /** Connections at once, over all sessions. */
    readonly maxConnections: number;
    /** 0: no limit. */
    readonly idleMs: number;
    readonly longestMs: number;
  };
}

interface Tunnel {
  readonly route: TunnelRoute;
  readonly listener: net.Server;
  isAdmitting: boolean;
}

const LIMITS_EVERY_MS = SECOND_MS;
const LAST_CLOSES_MS = 2 * SECOND_MS;
/** With Node's own ten tries a second apart, a peer that vanished without a word is noticed after 40 s. */
const KEEP_ALIVE_MS = 30 * SECOND_MS;

/**
 * Listens on the ports of sessions and splices what connects to a fresh stream to the session's instance, which is dialled for it. SSH is
 * spoken end to end, so that nothing here can be read, or logged into; a port leads to its session and nowhere else.
 */
export class TunnelServer {
  readonly #deps: TunnelServerDeps;
  readonly #limits: ConnectionLimits;
  readonly #tunnels = new Map<SessionId, Tunnel>();
  readonly #connections = new Map<TunnelConnection, TunnelRoute>();
  readonly #stopping = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(deps: TunnelServerDeps) {
    this.#deps = deps;
    const { idleMs, longestMs } = deps.settings;
    this.#limits = { ...YOUNG_LIMITS, idleMs, longestMs };
  }

  /** Listens on the route's port. Nobody is let in before `admit`. A port that is open for the session already is closed first. */
  async open(route: TunnelRoute): Promise<OpenOutcome> {
    if (this.#stopping.signal.aborted) return { kind: 'failed', message: 'the broker is ending' };
    this.close(route.sessionId);
    const listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    try {
      listener.listen({ host: this.#deps.settings.host, port: route.port, exclusive: true });
      await once(listener, 'listening');
    } catch (error) {
      // a system error has its code
      const { code } = error as NodeJS.ErrnoException;
      return code === 'EADDRINUSE' ? { kind: 'taken' } : { kind: 'failed', message: describeError(error) };
    }
    if (this.#stopping.signal.aborted) {
      listener.close();
      return { kind: 'failed', message: 'the broker is ending' };
    }
    const tunnel: Tunnel = { route, listener, isAdmitting: false };
    listener.on('connection', (socket) => this.#accept(tunnel, socket));
    listener.on('error', (error) =>
      this.#deps.log.warn({ sessionId: route.sessionId, error: describeError(error) }, 'a connection could not be accepted'),
    );
    this.#tunnels.set(route.sessionId, tunnel);
    this.#watching ??= this.#watch();
    return { kind: 'open' };
  }

  /** Lets connections in: the port is known to be the session's. */
  admit(sessionId: SessionId): void {
    const tunnel = this.#tunnels.get(sessionId);
    if (tunnel) tunnel.isAdmitting = true;
  }

  /** Ends the session's listener and cuts its connections. Closing what is not open is no error. */
  close(sessionId: SessionId): void {
    const tunnel = this.#tunnels.get(sessionId);
    if (!tunnel) return;
    this.#tunnels.delete(sessionId);
    tunnel.listener.close();
    for (const connection of this.#connectionsOf(sessionId)) connection.close('session_over');
  }

  /** The routes that are listened for. */
  routes(): readonly TunnelRoute[] {
    return [...this.#tunnels.values()].map(({ route }) => route);
  }

  /** How many connections are open, by provider. */
  connections(): readonly { readonly provider: ProviderId; readonly count: number }[] {
    const counts = new Map<ProviderId, number>();
    for (const { provider } of this.#connections.values()) counts.set(provider, (counts.get(provider) ?? 0) + 1);
    return [...counts].map(([provider, count]) => ({ provider, count }));
  }

  /** Ends every listener and connection; again is harmless. Sessions do not notice, and their ports are opened again by the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the broker is ending'));
    for (const { listener } of this.#tunnels.values()) listener.close();
    this.#tunnels.clear();
    const open = [...this.#connections.keys()];
    for (const connection of open) connection.close('shutdown');
    const closed = Promise.all([this.#watching, ...open.map((connection) => connection.closed)]);
    // a stream of a provider's that never closes must not hold up the end
    const inTime = new AbortController();
    await Promise.race([closed, this.#deps.clock.sleep(LAST_CLOSES_MS, inTime.signal).catch(() => {})]);
    inTime.abort();
  }

  #accept(tunnel: Tunnel, socket: net.Socket): void {
    const { route } = tunnel;
    const { provider, sessionId } = route;
    const { clock, log, metrics, settings } = this.#deps;
    socket.on('error', () => {}); // its end is what counts
    if (!tunnel.isAdmitting || this.#tunnels.get(sessionId) !== tunnel) return void socket.destroy();
    const room = roomFor(sessionId, this.#connections.keys(), { ...ROOM_LIMITS, all: settings.maxConnections });
    if (room.kind === 'none') {
      metrics.tunnelRefused({ provider, reason: room.refusal });
      log.debug({ sessionId, reason: room.refusal }, 'connection refused');
      return sayAndClose(socket, 'too many connections at once; try again soon');
    }
    if (room.kind === 'instead_of') room.silent.close('crowded_out');

    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const connection: TunnelConnection = createTunnelConnection({
      sessionId,
      consumer: socket,
      dial: route.dial,
      clock,
      limits: this.#limits,
      onBytes: (direction, bytes) => metrics.tunnelBytes({ provider, direction, bytes }),
      onDialFailure: (error) => log.debug({ sessionId, error: describeError(error) }, 'instance could not be dialled'),
      onEnd: (end) => {
        this.#connections.delete(connection);
        metrics.tunnelEnded({ provider, reason: end });
        log.debug({ sessionId, end }, 'connection ended');
      },
    });
    this.#connections.set(connection, route);
  }

  #connectionsOf(sessionId: SessionId): readonly TunnelConnection[] {
    return [...this.#connections.keys()].filter((each) => each.sessionId === sessionId);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      for (const connection of this.#connections.keys()) connection.enforceLimits();
      try {
        await this.#deps.clock.sleep(LIMITS_EVERY_MS, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }
}
