import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { describeError } from '../../src/core/errors.ts';
import type { Log } from '../../src/core/log.ts';
import { InstanceRecord } from './instance-record.ts';

/**
 * The market's memory: a file of JSON lines that is only appended to, so that a create costs one line however many instances there are.
 * At each start it is read and written anew with what still lives. A last line cut in half by a kill is left out; its create never answered.
 */
export interface Journal {
  /** Resolves when the line is in the file (not necessarily on the disk); lines that come at once share a write. */
  append(line: JournalLine): Promise<void>;
  close(): Promise<void>;
}

const JournalLine = z.discriminatedUnion('op', [
  z.object({ op: z.literal('start'), nextOrdinal: z.int() }),
  z.object({ op: z.literal('create'), record: InstanceRecord }),
  // null takes a field away
  z.object({ op: z.literal('change'), id: z.string(), fields: z.record(z.string(), z.unknown()) }),
  z.object({ op: z.literal('gone'), id: z.string() }),
]);
export type JournalLine = z.infer<typeof JournalLine>;

const FILE_NAME = 'instances.jsonl';

interface OpenedJournal {
  readonly journal: Journal;
  readonly records: readonly InstanceRecord[];
  readonly nextOrdinal: number;
}

interface JournalDeps {
  readonly folder: string;
  readonly log: Log;
  /** Whose time ran out while nobody watched: it is not read back. */
  readonly isOver: (record: InstanceRecord) => boolean;
}

export async function openJournal({ folder, log, isOver }: JournalDeps): Promise<OpenedJournal> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, FILE_NAME);
  const { records: known, nextOrdinal } = replay(await readIfThere(path), log);
  const records = known.filter((record) => !isOver(record));
  await writeAnew(path, records, nextOrdinal);
  return { journal: await appendTo(path), records, nextOrdinal };
}

function replay(text: string, log: Log): Omit<OpenedJournal, 'journal'> {
  const records = new Map<string, InstanceRecord>();
  let nextOrdinal = 1;
  for (const [index, row] of text.split('\n').entries()) {
    if (row === '') continue;
    const line = parseLine(row);
    if (line === undefined) {
      log.warn({ file: FILE_NAME, line: index + 1 }, 'line of the simulated market left out: it cannot be read');
      continue;
    }
    if (line.op === 'start') nextOrdinal = Math.max(nextOrdinal, line.nextOrdinal);
    if (line.op === 'create') {
      records.set(line.record.id, line.record);
      nextOrdinal = Math.max(nextOrdinal, line.record.ordinal + 1);
    }
    if (line.op === 'gone') records.delete(line.id);
    if (line.op === 'change') {
      const changed = changedRecord(records.get(line.id), line.fields);
      if (changed !== undefined) records.set(line.id, changed);
    }
  }
  return { records: [...records.values()], nextOrdinal };
}

function parseLine(row: string): JournalLine | undefined {
  try {
    return JournalLine.parse(JSON.parse(row));
  } catch {
    return undefined; // the caller says so
  }
}

function changedRecord(
  record: InstanceRecord | undefined,
  fields: Readonly<Record<string, unknown>>,
): InstanceRecord | undefined {
  if (record === undefined) return undefined;
  const kept = Object.entries({ ...record, ...fields }).filter(([, value]) => value !== null);
  return InstanceRecord.safeParse(Object.fromEntries(kept)).data;
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** The old file stays until the new one is whole. */
async function writeAnew(path: string, records: readonly InstanceRecord[], nextOrdinal: number): Promise<void> {
  const lines: JournalLine[] = [{ op: 'start', nextOrdinal }, ...records.map((record) => ({ op: 'create' as const, record }))];
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

async function appendTo(path: string): Promise<Journal> {
  const file = await open(path, 'a', 0o600);
  let waiting: string[] = [];
  let isTorn = false;
  let writing: Promise<void> | undefined;

  async function write(): Promise<void> {
    try {
      while (waiting.length > 0) {
        const batch = waiting;
        waiting = [];
        try {
          await file.appendFile((isTorn ? '\n' : '') + batch.join(''));
          isTorn = false;
        } catch (error) {
          waiting = [...batch, ...waiting]; // goes with the next line: reading one twice does no harm
          isTorn = true;
          throw new Error(`the simulated market cannot write ${FILE_NAME}: ${describeError(error)}`, { cause: error });
        }
      }
    } finally {
      writing = undefined;
    }
  }

  return {
    append(line) {
      waiting.push(`${JSON.stringify(line)}\n`);
      writing ??= write();
      return writing;
    },
    async close() {
      try {
        await (writing ?? write()); // what a full disk refused may fit now
      } finally {
        await file.close();
      }
    },
  };
}
