import { z } from 'zod';
import type { FaultInput } from '../kit/fault.ts';
import type { Controls } from '../kit/control-server.ts';
import type { ClusterControls } from './controls.ts';
import { Planted } from './plant.ts';

const Hostname = z.object({ hostname: z.string() });
const TaskId = z.object({ taskId: z.string() });
const Tag = z.string().min(1);

/** What the emulator does with its own servers, which are not of the world. */
export interface HostSwitch {
  reset(seed?: number): Promise<void>;
  stopHost(): Promise<void>;
  startHost(): Promise<void>;
}

/** The controls over HTTP. */
export function controlRoutes(controls: ClusterControls, host: HostSwitch): Controls {
  const ofNode = (act: (hostname: string) => unknown) => (body: unknown) => act(Hostname.parse(body).hostname);
  const ofTask = (act: (taskId: string) => unknown) => (body: unknown) => act(TaskId.parse(body).taskId);
  return {
    'POST /reset': (body) => host.reset(z.strictObject({ seed: z.int().optional() }).parse(body).seed),
    'POST /scenario': (body) => controls.scenario(z.strictObject({ name: z.string() }).parse(body).name),
    'POST /knobs': (body) => controls.setKnobs(z.record(z.string(), z.unknown()).parse(body)),
    'POST /advance': (body) => controls.advance(z.strictObject({ ms: z.number() }).parse(body).ms),
    // the queue parses what it is given
    'POST /faults': (body) => controls.injectFault(body as FaultInput),
    'POST /faults/clear': () => controls.clearFaults(),
    'POST /host/stop': () => host.stopHost(),
    'POST /host/start': () => host.startHost(),
    'POST /host/restart': async () => {
      await host.stopHost();
      await host.startHost();
    },
    'POST /runner/kill': ofNode(controls.killRunner),
    'POST /runner/return': ofNode(controls.returnRunner),
    'POST /node/cut-off': ofNode(controls.cutOff),
    'POST /node/reconnect': ofNode(controls.reconnect),
    'POST /node/reboot': ofNode(controls.rebootNode),
    'POST /node/add': (body) => {
      const gpus = z.object({ name: z.string(), vramMib: z.int(), count: z.int() });
      const spec = Hostname.extend({ cores: z.int(), gpus: gpus.optional() }).parse(body);
      const { gpus: model, ...rest } = spec;
      return controls.addNode({ ...rest, ...(model !== undefined && { gpus: model }) });
    },
    'POST /node/occupy': (body) => {
      const what = Hostname.extend({ cores: z.int().optional(), gpus: z.array(z.int()).optional() }).parse(body);
      controls.occupy(what.hostname, {
        ...(what.cores !== undefined && { cores: what.cores }),
        ...(what.gpus !== undefined && { gpus: what.gpus }),
      });
    },
    'POST /node/vacate': ofNode(controls.vacate),
    'POST /container/restart': ofTask(controls.restartContainer),
    'POST /container/stop': ofTask(controls.stopContainer),
    'POST /container/remove': ofTask(controls.removeContainer),
    'POST /container/freeze': ofTask(controls.freezeContainer),
    'POST /container/take-port': (body) => {
      const { from, by } = z.strictObject({ from: z.string(), by: z.string() }).parse(body);
      return controls.takePort(from, by);
    },
    'POST /row/status': (body) => {
      const { taskId, status } = TaskId.extend({ status: z.string() }).parse(body);
      controls.setStatus(taskId, status);
    },
    'POST /plant': async (body) => ({ taskId: await controls.plant(Planted.parse(body)) }),
    'GET /ledger': () => controls.ledger(),
    'GET /living': (_body, query) => controls.livingWithTag(Tag.parse(query.get('tag'))),
    'GET /starting': (_body, query) => controls.startingWithTag(Tag.parse(query.get('tag'))),
    'GET /tunnels/leaked': () => ({ count: controls.leakedTunnels() }),
    'GET /requests': () => controls.requests(),
  };
}
