import { once } from 'node:events';
import net from 'node:net';
import { simulated } from '../../providers/simulated/index.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { createLogger } from '../../src/observability/logger.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { defineProvider } from '../../src/provider/provider-module.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { createBroker } from '../../src/server/broker.ts';
import { until } from './broker-process.ts';
import { QUICK_MARKET } from './simulated-market.ts';

/** The simulated market behind a wall: nobody but the provider itself can reach its machines. */
export const walledMarket = defineProvider({
  ...simulated,
  create: async (environment, deps) => walled(await simulated.create(environment, deps)),
});

function walled(market: Provider): Provider {
  const behind = (instance: Instance): Instance =>
    instance.state === 'running' ? { ...instance, ssh: { ...instance.ssh, routes: 'dial' } } : instance;
  return {
    ...market,
    createInstance: async (request, options) => behind(await market.createInstance(request, options)),
    listInstances: async (options) => (await market.listInstances(options)).map(behind),
    getInstance: async (id, options) => {
      const instance = await market.getInstance(id, options);
      return instance && behind(instance);
    },
    dialSsh: async (id, options) => {
      const instance = await market.getInstance(id, options);
      const [route] = instance?.state === 'running' && instance.ssh.routes !== 'dial' ? instance.ssh.routes : [];
      const refuse = (cause?: unknown) =>
        new ProviderError({
          kind: 'unavailable',
          provider: market.id,
          operation: 'DialSsh',
          message: `dial SSH at ${market.id}: not up`,
          cause,
        });
      if (!route) throw refuse();
      const socket = net.connect({ ...route, allowHalfOpen: true });
      socket.on('error', () => {});
      try {
        await once(socket, 'connect', { signal: options.signal });
        return socket;
      } catch (error) {
        socket.destroy();
        throw refuse(error);
      }
    },
  };
}

/** The whole broker in this process over the walled market, its data in `folder`: another one on the same folder is its next life. */
export async function startWalledBroker(folder: string, environment: Readonly<Record<string, string>>) {
  const loaded = loadConfig({
    environment: {
      ...QUICK_MARKET,
      SERVER_PORT: '0',
      DATABASE_PATH: `${folder}/berth.db`,
      PROVIDERS_SIMULATED_ENABLED: 'true',
      ...environment,
    },
    dotenvText: undefined,
    modules: [walledMarket],
  });
  if (!loaded.ok) throw new Error(loaded.faults.join('; '));
  const lines: string[] = [];
  const broker = await createBroker({
    config: loaded.config,
    configured: loaded.providers,
    clock: systemClock,
    random: systemRandom,
    log: createLogger({
      level: 'info',
      format: 'json',
      clock: systemClock,
      destination: { write: (line) => void lines.push(line) },
    }),
    version: '0.0.0-test',
    onFatal: (error) => {
      throw error;
    },
  });
  const url = await broker.start();
  const running = {
    /** Everything that it has logged so far. */
    logged: () => lines.join(''),
    stop: (options: { readonly drain: boolean } = { drain: false }) => broker.stop(options),
    async api<Body>(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      // the test names what it expects
      return { status: answer.status, text, body: (text.startsWith('{') ? JSON.parse(text) : undefined) as Body };
    },
  };
  await until('offers of the market', async () =>
    (await running.api<{ count: number }>('GET', '/api/v1/inventory?limit=1')).body.count > 0 ? true : undefined,
  );
  return running;
}
