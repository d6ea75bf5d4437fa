import { SECOND_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { OwnershipTag } from '../../src/provider/ownership-tag.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { Carrier } from './carrier.ts';
import type { Answer, Call } from './client.ts';
import type { Generation } from './dialect.ts';
import { toInstance } from './instances.ts';
import { explain, failure, saysRunnerUnreachable } from './mapping.ts';
import type { VpsMemory } from './memory.ts';
import type { Place } from './placement.ts';
import { CreateAnswer, TaskRow } from './schema.ts';
import type { VpsRow, VpsRows } from './vps-rows.ts';

const OPERATION = 'CreateInstance';
/** One version waits this long for the machine and then answers all the same; a quicker answer without a port means that the machine failed. */
const HOST_GAVE_UP_MS = 29 * SECOND_MS;
const COULD_NOT_START =
  'the machine could not start the VPS: there is no such environment, it has no known package manager, or a GPU does not work';

const UNMARKED = 'the Host does not give its ownership tag back';

export interface Sent {
  readonly tag: OwnershipTag;
  readonly place: Place;
  readonly generation: Generation;
  /** From the request to its answer. */
  readonly tookMs: number;
}

interface CreateVerdictDeps {
  readonly rows: VpsRows;
  readonly carrier: Carrier;
  readonly memory: VpsMemory;
  readonly priceMicrosPerHour: MicroUsd;
}

/** What the answer to a create means; a 2xx by itself means nothing but that there is a row. */
export function createVerdict(deps: CreateVerdictDeps) {
  const { rows, carrier, memory, priceMicrosPerHour } = deps;

  function asInstance({ row, remembered }: VpsRow, generation: Generation): Instance {
    const phaseAgeMs = memory.phaseAgeMs(remembered);
    return toInstance(row, remembered, { generation, phaseAgeMs, priceMicrosPerHour });
  }

  /** The row as the Host tells it now; where it cannot be asked, as good as starting. */
  async function look(id: string, call: Call): Promise<VpsRow> {
    try {
      const found = await rows.find(id, call);
      if (found) return found;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
    }
    return { row: TaskRow.parse({ task_id: id }), remembered: memory.add(id, {}) };
  }

  async function withoutPort(id: string, { generation, tookMs }: Sent, call: Call): Promise<Instance> {
    const seen = await look(id, call);
    if (saysRunnerUnreachable(seen.row)) {
      throw failure({ operation: OPERATION, kind: 'capacity', why: 'the Host cannot reach the Runner of the machine' });
    }
    const isClosedOrStuck = ['starting', 'unknown', 'ended'].includes(seen.remembered.phase);
    const hasFailed = generation === 'seed' && isClosedOrStuck && tookMs < HOST_GAVE_UP_MS;
    if (!hasFailed) return asInstance(seen, generation);
    return asInstance({ ...seen, remembered: memory.add(id, { startFailure: COULD_NOT_START }) }, generation);
  }

  async function verdictOfMade(
    id: string,
    { runner_response: runner }: CreateAnswer,
    sent: Sent,
    call: Call,
  ): Promise<Instance> {
    const { tag, place, generation } = sent;
    memory.add(id, { tag, node: place.hostname });
    if (!(await carrier.isProvenBy({ id, tag }, call))) return unmarked(id, sent);
    const port = runner?.ssh_port;
    if (port === 0) {
      memory.add(id, { startFailure: 'the VPS was started without SSH' });
      return withoutPort(id, sent, call);
    }
    const row = TaskRow.parse({
      task_id: id,
      status: 'running',
      ssh_port: port,
      assigned_node: place.hostname,
      required_gpus: place.gpuIds,
    });
    if (row.ssh_port === undefined) return withoutPort(id, sent, call);
    return asInstance({ row, remembered: memory.note(row, generation) }, generation);
  }

  /** It could not be found again without its id: as one that has failed, it is destroyed by that until it is gone, and nothing else is made. */
  function unmarked(id: string, { tag, place }: Sent): Instance {
    const price = Math.max(1, place.gpuIds.length) * priceMicrosPerHour;
    return { id: instanceId(id), tag, priceMicrosPerHour: price, state: 'failed', reason: UNMARKED };
  }

  return async function judge({ status, body, said }: Answer, sent: Sent, call: Call): Promise<Instance> {
    const made = CreateAnswer.safeParse(body);
    const id = made.data?.task_ids ?? made.data?.task_id;
    if (status >= 200 && status < 300) {
      if (made.success && id !== undefined) return verdictOfMade(id, made.data, sent, call);
      throw failure({ operation: OPERATION, kind: 'ambiguous', why: 'accepted, but without the id of what was made', said });
    }
    const refusal = explain(said, OPERATION);
    const why = refusal?.why ?? 'the answer does not tell whether it was made';
    throw failure({ operation: OPERATION, kind: refusal?.kind ?? 'ambiguous', why, said });
  };
}
