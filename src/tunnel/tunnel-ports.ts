import type { PortRange } from '../config/port-range.ts';
import type { Controller } from '../controllers/controller.ts';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { DialledSession, TunnelPortRepository } from './tunnel-port-repository.ts';
import type { TunnelRoute, TunnelServer } from './tunnel-server.ts';

interface TunnelPortsDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly ports: TunnelPortRepository;
  readonly writer: Pick<SessionWriter, 'apply'>;
  readonly server: Pick<TunnelServer, 'open' | 'admit' | 'close' | 'routes'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly random: Pick<Random, 'next'>;
  readonly log: Log;
  readonly settings: {
    readonly range: PortRange;
    /** What consumers are told. */
    readonly publicHost: string;
    /** No other broker shares the database: an address is then this one's to change. */
    readonly exclusive: boolean;
  };
}

/** Another broker may have ended a session: its connections are cut within five seconds here too. */
const PERIOD_MS = 2 * SECOND_MS;
/** A former life of this broker may hold the port for a moment after a restart; who holds it longer keeps it. */
const MOVE_AFTER_MS = 10 * SECOND_MS;

/**
 * Gives each session whose instance only its provider can dial a port of the broker, and keeps that port open for as long as the session
 * lives: the same one after a restart. The port is listened on before it is promised and admits nobody before the promise is stored. A session
 * that gets none waits, and says why.
 */
export function createTunnelPortsController(deps: TunnelPortsDeps): Controller {
  const { server, ports, log } = deps;
  const dialling = [...deps.providers.values()].filter(({ dialSsh }) => dialSsh !== undefined);
  /** Since when a session's own port has been held by others, on the monotonic clock. */
  const takenSince = new Map<SessionId, number>();

  return {
    name: 'tunnel.ports',
    periodMs: PERIOD_MS,
    async reconcile() {
      const wanted = new Map<SessionId, Wanted>();
      for (const provider of dialling)
        for (const session of await ports.findDialled(provider.id)) wanted.set(session.sessionId, { session, provider });
      for (const { sessionId, ordinal, port } of server.routes()) {
        const session = wanted.get(sessionId)?.session;
        if (session?.ordinal !== ordinal || session.port !== port) server.close(sessionId);
      }
      for (const id of takenSince.keys()) if (!wanted.has(id)) takenSince.delete(id);

      const held = createHeldPorts(deps);
      const counts = { examined: wanted.size, changed: 0, failed: 0 };
      for (const each of wanted.values()) {
        try {
          const outcome = await settle(deps, { ...each, held, takenSince });
          if (outcome !== 'as it was') counts[outcome] += 1;
        } catch (error) {
          counts.failed += 1;
          log.error(
            { sessionId: each.session.sessionId, error: describeError(error) },
            'port of a session could not be opened',
          );
        }
      }
      return { ...counts, details: { open: server.routes().length } };
    },
  };
}

interface Wanted {
  readonly session: DialledSession;
  readonly provider: Provider;
}

interface Pass extends Wanted {
  /** Ports that sessions have, and what this pass gives away; asked for only by who needs a new one. */
  readonly held: () => Promise<Set<number>>;
  readonly takenSince: Map<SessionId, number>;
}

type Outcome = 'as it was' | 'changed' | 'failed';

async function settle(deps: TunnelPortsDeps, pass: Pass): Promise<Outcome> {
  const { session, takenSince } = pass;
  const { port } = session;
  if (port === null) return assign(deps, pass);
  const opened = await keepOpen(deps, pass, port);
  if (opened === 'failed') {
    const since = takenSince.get(session.sessionId);
    const isLost = deps.settings.exclusive && since !== undefined && deps.clock.monotonicMs() - since >= MOVE_AFTER_MS;
    return isLost ? assign(deps, pass) : 'failed';
  }
  takenSince.delete(session.sessionId);
  if (!deps.settings.exclusive || session.host === deps.settings.publicHost) return opened;
  return (await promise(deps, session, port)) === 'changed' ? 'changed' : opened; // the operator has given the machine another name
}

async function keepOpen(deps: TunnelPortsDeps, { session, provider, takenSince }: Pass, port: number): Promise<Outcome> {
  const { server, clock, log } = deps;
  const { sessionId } = session;
  if (server.routes().some((route) => route.sessionId === sessionId && route.port === port)) return 'as it was';
  const opened = await server.open(routeOf(session, provider, port));
  if (opened.kind === 'open') {
    server.admit(sessionId);
    return 'changed';
  }
  if (!takenSince.has(sessionId)) {
    takenSince.set(sessionId, clock.monotonicMs());
    const reason = opened.kind === 'taken' ? 'another program listens there' : opened.message;
    log.warn({ sessionId, port, reason }, 'the port of a running session cannot be opened; it is tried again');
  }
  return 'failed';
}

/** Finds a port that is free here and in the database, wherever in the range: one that was given back is not the next to be given away. */
async function assign(deps: TunnelPortsDeps, { session, provider, held }: Pass): Promise<Outcome> {
  const { server, settings, random, writer, log } = deps;
  const usedPorts = await held();
  const { first, last } = settings.range;
  const size = last - first + 1;
  const start = Math.floor(random.next() * size);
  let refusal: string | undefined;
  for (let offset = 0; offset < size; offset += 1) {
    const port = first + ((start + offset) % size);
    if (usedPorts.has(port)) continue;
    const opened = await server.open(routeOf(session, provider, port));
    if (opened.kind === 'failed') refusal ??= opened.message;
    if (opened.kind !== 'open') continue;
    const promised = await promise(deps, session, port);
    if (promised === 'changed') {
      server.admit(session.sessionId);
      usedPorts.add(port);
      return 'changed';
    }
    server.close(session.sessionId);
    if (promised === 'unwanted') return 'as it was';
  }
  const range = first === last ? `${first}` : `${first}-${last}`;
  const message = `no port of TUNNEL_PORTS (${range}) is free for this session`;
  const told = await writer.apply(session.sessionId, { kind: 'tunnel_awaited', ordinal: session.ordinal, message });
  if (told.outcome === 'changed')
    log.warn(
      { sessionId: session.sessionId, range, ...(refusal === undefined ? {} : { refusal }) },
      'no port is free for a session',
    );
  return 'failed';
}

/** Stores the address, unless another session has that port. */
async function promise(
  { writer, ports, clock, settings, server }: TunnelPortsDeps,
  { sessionId, ordinal, port: replaces }: DialledSession,
  port: number,
): Promise<'changed' | 'declined' | 'unwanted'> {
  try {
    const applied = await writer.apply(
      sessionId,
      { kind: 'tunnel_opened', ordinal, host: settings.publicHost, port, replaces },
      ports.claim({ port, sessionId, now: clock.now() }),
    );
    return applied.outcome === 'changed' || applied.outcome === 'declined' ? applied.outcome : 'unwanted';
  } catch (error) {
    server.close(sessionId); // nobody knows what is stored: the next pass reads it
    throw error;
  }
}

function createHeldPorts({ ports, clock }: TunnelPortsDeps): Pass['held'] {
  let held: Promise<Set<number>> | undefined;
  return () => (held ??= ports.findHeld(clock.now()).then((found) => new Set(found)));
}

function routeOf({ sessionId, ordinal, instanceId }: DialledSession, provider: Provider, port: number): TunnelRoute {
  const { dialSsh } = provider;
  if (dialSsh === undefined) throw new Error(`provider ${provider.id} does not dial`);
  return {
    sessionId,
    ordinal,
    provider: provider.id,
    port,
    dial: (signal) => dialSsh.call(provider, instanceId, { signal }),
  };
}
