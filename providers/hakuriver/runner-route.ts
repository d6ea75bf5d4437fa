import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { createHttpClient, HttpFailure } from '../../src/provider/http-client.ts';
import type { Generation } from './dialect.ts';
import { read, saysNoSuchTask } from './mapping.ts';
import { parseJson } from './parse-json.ts';

/** The stop itself takes ten seconds as a rule, and the answer comes after it. */
const RUNNER_TIMEOUT_MS = 25 * SECOND_MS;

/** `ended`: it stopped the container. `unknown`: it has none. `failed`: it tried. `unreachable`: it was not asked, or something else answered. */
export type RunnerVerdict = 'ended' | 'unknown' | 'failed' | 'unreachable';

export interface RunnerRoute {
  /** Tells a machine itself to end a VPS: the only way once the Host has closed or lost the row. */
  stop(request: {
    readonly id: string;
    readonly url: URL | undefined;
    readonly generation: Generation;
    readonly signal: AbortSignal;
  }): Promise<RunnerVerdict>;
}

interface RunnerRouteDeps {
  readonly clock: Clock;
  readonly log: Log;
}

export function createRunnerRoute({ clock, log }: RunnerRouteDeps): RunnerRoute {
  return {
    async stop({ id, url, generation, signal }) {
      if (url === undefined) {
        tellByHand(id, generation, 'the address of its machine is not known here');
        return 'unreachable';
      }
      // without the token: a Runner asks for none, and whoever registered its address could read it
      const http = createHttpClient({ baseUrl: url, clock, timeoutMs: RUNNER_TIMEOUT_MS, freshConnections: true });
      try {
        // the untyped body of the seed's Runner needs the id as a bare number, which JavaScript cannot hold
        const request =
          generation === 'seed'
            ? { path: '/kill', jsonText: `{"task_id":${id}}` }
            : { path: `${generation === 'kohaku' ? '/api' : ''}/vps/stop/${id}` };
        const { status, text } = await http.send({ method: 'POST', ...request, signal });
        const said = read({ status, body: parseJson(text) });
        // another server at that address may say yes to everything, or has no such route at all
        if (status >= 200 && status < 300 && said.isJson) return 'ended';
        if (saysNoSuchTask(said)) return 'unknown';
        log.warn({ instanceId: id, status }, 'hakuriver runner could not end a container that its host has given up');
        return status === 500 ? 'failed' : 'unreachable';
      } catch (thrown) {
        if (!(thrown instanceof HttpFailure)) throw thrown;
        tellByHand(id, generation, thrown.message);
        return 'unreachable';
      }
    },
  };

  function tellByHand(id: string, generation: Generation, why: string): void {
    const container = `${generation === 'seed' ? 'hakuriver' : 'kohakuriver'}-vps-${id}`;
    log.warn(
      { instanceId: id, container, why },
      'container that its host has given up cannot be ended from here; remove it on its machine',
    );
  }
}
