import { z } from 'zod';

// Their bodies: only what is read, and of that only what has the right form. A field that has another is as good as absent,
// since one odd field must not hide a machine that is billed.

const number = z.unknown().optional().transform(toNumber);
const text = z
  .unknown()
  .optional()
  .transform((value) => (typeof value === 'string' ? value : undefined));
const flag = z
  .unknown()
  .optional()
  .transform((value) => (value === true || value === 1 ? true : value === false || value === 0 ? false : undefined));
/** Whole numbers, also as text. */
const id = z.union([z.int().positive(), z.string().regex(/^[1-9]\d{0,15}$/)]).transform((value) => String(value));

const optionalId = id
  .nullish()
  .catch(undefined)
  .transform((value) => value ?? undefined);

export const OfferRow = z.object({
  id: optionalId,
  ask_contract_id: optionalId,
  machine_id: optionalId,
  gpu_name: z.string().min(1).max(100),
  num_gpus: z.int().min(1).max(64),
  gpu_frac: number,
  gpu_ram: number,
  gpu_total_ram: number,
  cuda_max_good: number,
  cpu_cores: number,
  cpu_cores_effective: number,
  cpu_ram: number,
  disk_space: number,
  dph_base: number,
  dph_total: number,
  min_bid: number,
  storage_cost: number,
  storage_total_cost: number,
  reliability: number,
  reliability2: number,
  verification: text,
  rentable: flag,
  rented: flag,
  is_bid: flag,
  geolocation: text,
  duration: number,
  end_date: number,
});
export type OfferRow = z.infer<typeof OfferRow>;

export const OffersPage = z.object({ offers: z.array(z.unknown()) });

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

export const CreateAnswer = z.object({ success: flag, new_contract: optionalId });

export const SuccessAnswer = z.object({ success: flag });

export const Account = z.object({ credit: number.pipe(z.number()) });

/** What a refusal may hold, wherever the words stand. */
export const RefusalBody = z.object({ error: text, msg: text, message: text, detail: text, code: text, retry_after: number });

/** `ssh_keys` is a list or, as a rule, the text of one. */
export const KeyRow = z.object({ id: z.number().int().positive().nullish(), public_key: text, key: text });

function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value)) return Number(value);
  return undefined;
}
