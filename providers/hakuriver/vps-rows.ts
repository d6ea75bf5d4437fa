import type { Call, HakuClient } from './client.ts';
import type { Endings } from './endings.ts';
import { phaseOf } from './mapping.ts';
import type { Remembered, VpsMemory } from './memory.ts';
import type { TaskRow } from './schema.ts';
import { eachFew } from './each-few.ts';
import { tagOf } from './ssh-keys.ts';

export interface VpsRow {
  readonly row: TaskRow;
  readonly remembered: Remembered;
}

export interface VpsRows {
  /** Undefined when the Host has no such row, which it only says of what never was: it forgets none. */
  find(id: string, call: Call): Promise<VpsRow | undefined>;
  /** All that may still exist, strangers' included, each with its tag read; or a throw. */
  all(call: Call): Promise<readonly VpsRow[]>;
}

interface VpsRowsDeps {
  readonly client: HakuClient;
  readonly memory: VpsMemory;
  readonly endings: Pick<Endings, 'isLongEnded'>;
}

/** The seed's version spreads a VPS over three routes: keys and status in one, the port in another, its machine in a third. */
export function createVpsRows({ client, memory, endings }: VpsRowsDeps): VpsRows {
  /** The keys never change, so that a row without them takes nothing back. */
  function readTag(row: TaskRow): void {
    memory.add(row.task_id, { tag: tagOf(row) ?? memory.of(row.task_id)?.tag ?? null });
  }

  async function complete(row: TaskRow, call: Call): Promise<TaskRow> {
    const { generation } = await client.dialect(call);
    if (generation !== 'seed') return row;
    const phase = phaseOf(row);
    if (phase === 'starting') return row;
    const node = row.assigned_node ?? memory.of(row.task_id)?.node;
    if (phase === 'portless' || phase === 'paused') {
      const active = (await client.activeVps(call)).find(({ task_id: id }) => id === row.task_id);
      return { ...row, assigned_node: active?.assigned_node ?? node, ssh_port: active?.ssh_port };
    }
    if (node !== undefined) return { ...row, assigned_node: node };
    return { ...row, assigned_node: (await client.vps(call)).find(({ task_id: id }) => id === row.task_id)?.assigned_node };
  }

  /** What shows whose it is stands with the task alone, and is read once. One that is denied in between shows nothing, and is asked for again. */
  async function readTags(rows: readonly TaskRow[], call: Call): Promise<void> {
    const unread = rows.filter(({ task_id: id }) => memory.of(id)?.tag === undefined);
    await eachFew(unread, async ({ task_id: id }) => {
      const task = await client.task(id, call);
      if (task) readTag(task);
    });
  }

  return {
    async find(id, call) {
      const told = await client.task(id, call);
      if (told === undefined) {
        memory.forget(id);
        return undefined;
      }
      const row = await complete(told, call);
      const { generation } = await client.dialect(call);
      readTag(row);
      return { row, remembered: memory.note(row, generation) };
    },

    async all(call) {
      const { generation } = await client.dialect(call);
      const listed = (await client.vps(call)).filter((row) => !endings.isLongEnded(row));
      const active = generation === 'seed' ? await client.activeVps(call) : [];
      const ports = new Map(active.map(({ task_id: id, ssh_port: port }) => [id, port]));
      const rows = listed.map((row) => ({ ...row, ssh_port: row.ssh_port ?? ports.get(row.task_id) }));
      for (const row of rows) memory.note(row, generation);
      await readTags(rows, call);
      return rows.flatMap((row) => {
        const remembered = memory.of(row.task_id);
        return remembered === undefined ? [] : [{ row, remembered }];
      });
    },
  };
}
