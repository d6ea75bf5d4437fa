import { z } from 'zod';
import { parseJson } from './parse-json.ts';

// Their bodies: only what is read, and of that only what has the right form. A field that has another is as good as absent, since one odd
// field must not hide a machine that runs. Several versions give the same field as number, text or null.

const text = z
  .unknown()
  .optional()
  .transform((value) => (typeof value === 'string' && value !== '' ? value : undefined));
/** A word of theirs, in whatever case. */
const word = text.transform((value) => value?.toLowerCase());
const number = z.unknown().optional().transform(toNumber);
/** A whole number that a row is of no use without. */
const whole = z.unknown().transform(toNumber);
const port = number.transform((value) =>
  value !== undefined && Number.isInteger(value) && value >= 1 && value <= 65_535 ? value : undefined,
);
/** A list of small whole numbers, in one version as the text of one. */
const indices = z
  .unknown()
  .optional()
  .transform((value) => {
    const list = typeof value === 'string' ? parseJson(value) : value;
    return Array.isArray(list) ? list.map(toNumber).filter((each): each is number => Number.isSafeInteger(each)) : [];
  });
const list = z
  .unknown()
  .optional()
  .transform((value): readonly unknown[] => (Array.isArray(value) ? value : []));

/** 63 bits: text wherever JavaScript could not hold it. */
export const TaskId = z.union([z.string().regex(/^\d{1,20}$/), z.int().nonnegative()]).transform(String);

const optionalId = TaskId.nullish()
  .catch(undefined)
  .transform((value) => value ?? undefined);

export const NodeRow = z.object({
  hostname: z.string().min(1).max(253),
  url: text,
  status: word,
  total_cores: whole.pipe(z.int().min(1).max(100_000)),
  /** `N/A` of an offline node is as good as absent. */
  available_cores: number,
  gpu_info: list,
  numa_topology: z
    .record(z.string(), z.object({ memory_bytes: number }).catch({ memory_bytes: undefined }))
    .nullish()
    .catch(undefined),
  memory_total_bytes: number,
  memory_used_bytes: number,
});
export type NodeRow = z.infer<typeof NodeRow>;

export const GpuRow = z.object({
  gpu_id: whole.pipe(z.int().min(0).max(4_095)),
  name: z.string().min(1).max(200),
  memory_total_mib: number,
});

/** A task in any of their lists, and in the answer about one. */
export const TaskRow = z.object({
  task_id: TaskId,
  status: word,
  /** Of the later versions: what the creator called it. */
  name: text,
  /** Of a VPS of the seed's version: its public keys. */
  command: text,
  ssh_public_key: text,
  assigned_node: text,
  required_gpus: indices,
  required_memory_bytes: number,
  ssh_port: port,
  exit_code: number,
  error_message: text,
  started_at: text,
  completed_at: text,
});
export type TaskRow = z.infer<typeof TaskRow>;

const RunnerResponse = z.object({ ssh_port: number, error: text });

export const CreateAnswer = z.object({
  task_id: optionalId,
  task_ids: list.transform(([first]) => TaskId.safeParse(first).data),
  runner_response: RunnerResponse.nullish().catch(undefined),
});
export type CreateAnswer = z.infer<typeof CreateAnswer>;

/** `detail` is text, or a list of faults with a message each. */
export const RefusalBody = z.object({ detail: z.unknown() });

export const OpenApi = z.object({ paths: z.record(z.string(), z.unknown()) });

/** A number, also as text; what is no finite number is absent. */
function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value.trim()) ? Number(value) : undefined;
}
