import { z } from 'zod';

// Their bodies: only what is read, and of that only what has the right form. A field that has another is as good as absent,
// since one odd field must not hide a machine that is billed.

const number = z.unknown().optional().transform(toNumber);
const text = z.unknown().optional().transform(toText);
const flag = z.unknown().optional().transform(toFlag);
/** Whole numbers, also as text. */
const id = z.union([z.int().positive(), z.string().regex(/^[1-9]\d{0,15}$/)]).transform((value) => String(value));

const optionalId = id
  .nullish()
  .catch(undefined)
  .transform((value) => value ?? undefined);

const anything = z.unknown().optional();

/** Read as the fields of the other bodies are, but by one function for the whole row: a search brings thousands of them. */
export const OfferRow = z
  .object({
    id: anything,
    ask_contract_id: anything,
    machine_id: anything,
    gpu_name: z.string().min(1).max(100),
    num_gpus: z.int().min(1).max(64),
    gpu_frac: anything,
    gpu_ram: anything,
    gpu_total_ram: anything,
    cuda_max_good: anything,
    cpu_cores: anything,
    cpu_cores_effective: anything,
    cpu_ram: anything,
    disk_space: anything,
    dph_base: anything,
    dph_total: anything,
    min_bid: anything,
    storage_cost: anything,
    storage_total_cost: anything,
    reliability: anything,
    reliability2: anything,
    verification: anything,
    rentable: anything,
    rented: anything,
    is_bid: anything,
    geolocation: anything,
    duration: anything,
    end_date: anything,
  })
  .transform((row) => ({
    id: toId(row.id),
    ask_contract_id: toId(row.ask_contract_id),
    machine_id: toId(row.machine_id),
    gpu_name: row.gpu_name,
    num_gpus: row.num_gpus,
    gpu_frac: toNumber(row.gpu_frac),
    gpu_ram: toNumber(row.gpu_ram),
    gpu_total_ram: toNumber(row.gpu_total_ram),
    cuda_max_good: toNumber(row.cuda_max_good),
    cpu_cores: toNumber(row.cpu_cores),
    cpu_cores_effective: toNumber(row.cpu_cores_effective),
    cpu_ram: toNumber(row.cpu_ram),
    disk_space: toNumber(row.disk_space),
    dph_base: toNumber(row.dph_base),
    dph_total: toNumber(row.dph_total),
    min_bid: toNumber(row.min_bid),
    storage_cost: toNumber(row.storage_cost),
    storage_total_cost: toNumber(row.storage_total_cost),
    reliability: toNumber(row.reliability),
    reliability2: toNumber(row.reliability2),
    verification: toText(row.verification),
    rentable: toFlag(row.rentable),
    rented: toFlag(row.rented),
    is_bid: toFlag(row.is_bid),
    geolocation: toText(row.geolocation),
    duration: toNumber(row.duration),
    end_date: toNumber(row.end_date),
  }));
export type OfferRow = z.infer<typeof OfferRow>;

const PortBinding = z.object({ HostPort: z.union([z.string(), z.number()]).nullish() });

export const InstanceRecord = z.object({
  id,
  label: text,
  extra_env: z.unknown().optional(),
  actual_status: text,
  intended_status: text,
  cur_state: text,
  next_state: text,
  status_msg: text,
  is_bid: flag,
  ssh_host: text,
  ssh_port: number,
  public_ipaddr: text,
  ports: z.record(z.string(), z.array(PortBinding).nullish().catch(undefined)).nullish().catch(undefined),
  gpu_util: number,
  gpu_temp: number,
  cpu_util: number,
  mem_usage: number,
  vmem_usage: number,
  disk_usage: number,
  uptime_mins: number,
  dph_total: number,
  disk_space: number,
  storage_cost: number,
  storage_total_cost: number,
});
export type InstanceRecord = z.infer<typeof InstanceRecord>;

export const InstancesPage = z.object({
  instances: z.array(z.unknown()),
  next_token: z.string().nullish(),
  total_instances: number,
});

/** Strangers write these. What is longer is no recipe that anybody could use, and is dropped as a row. */
const recipe = z.string().max(65_536).nullish();

export const TemplateRow = z.object({
  id: z.int().nonnegative(),
  hash_id: z.string().regex(/^[a-f0-9]{8,64}$/i),
  name: text,
  image: z.string().min(1).max(1_024),
  tag: z.string().max(256).nullish(),
  env: recipe,
  onstart: recipe,
  runtype: z.string().max(64).nullish(),
  args_str: recipe,
  use_ssh: flag,
  ssh_direct: flag,
  recommended: flag,
  recommended_disk_space: number,
  extra_filters: z.unknown().optional(),
  creator_id: number,
  created_at: number,
  count_created: number,
});
export type TemplateRow = z.infer<typeof TemplateRow>;

export const ChargeRow = z.object({
  type: text,
  source: text,
  start: number,
  end: number,
  amount: number,
  items: z
    .array(z.object({ type: text, amount: number }))
    .max(1_000)
    .nullish()
    .catch(undefined),
  metadata: z.object({ label: text }).nullish().catch(undefined),
});
export type ChargeRow = z.infer<typeof ChargeRow>;

export const ChargesPage = z.object({ results: z.array(z.unknown()), next_token: z.string().nullish() });

export const TemplatesPage = z.object({ templates: z.array(z.unknown()) });

export const CreateAnswer = z.object({ success: flag, new_contract: optionalId });

export const SuccessAnswer = z.object({ success: flag });

export const Account = z.object({ credit: number.pipe(z.number()) });

/** What a refusal may hold, wherever the words stand. */
export const RefusalBody = z.object({ error: text, msg: text, message: text, detail: text, code: text, retry_after: number });

/** `ssh_keys` is a list or, as a rule, the text of one. */
export const KeyRow = z.object({ id: z.number().int().positive().nullish(), public_key: text, key: text });

function toText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function toFlag(value: unknown): boolean | undefined {
  return value === true || value === 1 ? true : value === false || value === 0 ? false : undefined;
}

function toId(value: unknown): string | undefined {
  const isId =
    typeof value === 'number' ? Number.isSafeInteger(value) && value > 0 : /^[1-9]\d{0,15}$/.test(toText(value) ?? '');
  return isId ? String(value) : undefined;
}

function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value)) return Number(value);
  return undefined;
}
