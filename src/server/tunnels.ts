import { once } from 'node:events';
import net from 'node:net';
import type { Config } from '../config/config.ts';
import type { Controller } from '../controllers/controller.ts';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Store } from '../db/store.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionChanges } from '../sessions/session-changes.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import { createTunnelPortRepository } from '../tunnel/tunnel-port-repository.ts';
import { createTunnelPortsController } from '../tunnel/tunnel-ports.ts';
import { TunnelServer, type TunnelMetrics } from '../tunnel/tunnel-server.ts';
import { StartRefused } from './start-refused.ts';

interface TunnelsDeps {
  readonly settings: Config['tunnel'];
  readonly store: Store;
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly writer: SessionWriter;
  readonly changes: Pick<SessionChanges, 'onAny'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: TunnelMetrics;
}

export interface Tunnels {
  readonly controller: Controller;
  connections: TunnelServer['connections'];
  stop(): Promise<void>;
}

/** The ports of sessions that only their provider can dial. Throws StartRefused where one is on and TUNNEL_HOST cannot be listened on. */
export async function createTunnels({ settings, store, changes, ...deps }: TunnelsDeps): Promise<Tunnels> {
  const isNeeded = [...deps.providers.values()].some(({ dialSsh }) => dialSsh !== undefined);
  if (isNeeded) await tryToListen(settings.host);
  const server = new TunnelServer({ ...deps, settings });
  // at once, without waiting for a pass: what is on its way to be destroyed takes nobody in
  changes.onAny(({ session }) => {
    if (session.desired === 'gone') server.close(session.id);
  });
  return {
    controller: createTunnelPortsController({
      ...deps,
      server,
      ports: createTunnelPortRepository(store),
      settings: {
        range: settings.ports,
        publicHost: settings.publicHost ?? settings.host,
        exclusive: store.dialect === 'sqlite',
      },
    }),
    connections: () => server.connections(),
    stop: () => server.stop(),
  };
}

async function tryToListen(host: string): Promise<void> {
  const probe = net.createServer();
  try {
    probe.listen({ host, port: 0 });
    await once(probe, 'listening');
    probe.close();
  } catch (error) {
    throw new StartRefused(
      `TUNNEL_HOST="${host}": this machine cannot listen there: ${describeError(error)}. Example: TUNNEL_HOST=127.0.0.1`,
      error,
    );
  }
}
