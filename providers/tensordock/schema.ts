import { z } from 'zod';

// Their bodies: only what is read, and of that only what has the right form. A field that has another is as good as absent, since one
// odd field must not hide a machine that is billed. Names come in both spellings, camelCase and snake_case.

const number = z.unknown().optional().transform(toNumber);
const text = z
  .unknown()
  .optional()
  .transform((value) => (typeof value === 'string' ? value : undefined));
const flag = z
  .unknown()
  .optional()
  .transform((value) => (value === true || value === 1 ? true : value === false || value === 0 ? false : undefined));
const list = z
  .unknown()
  .optional()
  .transform((value): readonly unknown[] | undefined => (Array.isArray(value) ? value : undefined));
/** Ids of theirs go into paths and into ids of ours. One that is a number has to be one that JavaScript can hold. */
const id = z.union([z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/), z.int().nonnegative()]).transform(String);
/** As `geforcertx4090-pcie-24gb`. */
const model = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{1,79}$/);

const Rates = z.object({ per_vcpu_hr: number, per_gb_ram_hr: number, per_gb_storage_hr: number });
export type Rates = z.infer<typeof Rates>;
const rates = Rates.nullish().catch(undefined);

const place = { city: text, stateprovince: text, country: text, tier: number };
const Place = z.object(place);
export type Place = z.infer<typeof Place>;

export const LocationGpu = z.object({
  v0Name: model,
  displayName: text,
  max_count: number,
  price_per_hr: number,
  resources: z.object({ max_vcpus: number, max_ram_gb: number, max_storage_gb: number }).nullish().catch(undefined),
  pricing: rates,
  network_features: z.object({ dedicated_ip_available: flag, port_forwarding_available: flag }).nullish().catch(undefined),
});
export type LocationGpu = z.infer<typeof LocationGpu>;

export const Location = z.object({ id, ...place, gpus: z.array(z.unknown()) });
export type Location = z.infer<typeof Location>;

export const LocationsBody = z.object({ data: z.object({ locations: z.array(z.unknown()) }) });

export const HostNodeGpu = z.object({ v0Name: model, availableCount: number, price_per_hr: number });
export type HostNodeGpu = z.infer<typeof HostNodeGpu>;

export const HostNode = z.object({
  id,
  location_id: id.optional().catch(undefined),
  uptime_percentage: number,
  available_resources: z.object({
    gpus: z.array(z.unknown()),
    vcpu_count: number,
    ram_gb: number,
    storage_gb: number,
    max_vcpus_per_gpu: number,
    max_ram_per_gpu: number,
    available_ports: list,
    has_public_ip_available: flag,
  }),
  pricing: rates,
  location: Place.nullish().catch(undefined),
});
export type HostNode = z.infer<typeof HostNode>;

export const HostNodesBody = z.object({ data: z.object({ hostnodes: z.array(z.unknown()) }) });

/** Flat, or in `data`, or in `data.attributes`: reading.ts takes it out of either. */
export const InstanceRecord = z.object({
  id: id.nullish(),
  name: text,
  status: text,
  ipAddress: text,
  ip_address: text,
  portForwards: z.unknown().optional(),
  port_forwards: z.unknown().optional(),
  rateHourly: number,
  rate_hourly: number,
});
export type InstanceRecord = z.infer<typeof InstanceRecord>;

export const PortForward = z.object({
  internal_port: number,
  external_port: number,
  internalPort: number,
  externalPort: number,
});

export const CreateAnswer = z.object({ id: id.optional().catch(undefined), name: text });
export type CreateAnswer = z.infer<typeof CreateAnswer>;

const anything = z.unknown().optional();

/** What a list may say about its own length, wherever it says it: how much there is, or that there is more, in whatever form. */
export const ListHints = z.object({
  total: number,
  total_count: number,
  totalCount: number,
  total_pages: number,
  totalPages: number,
  next: anything,
  next_page: anything,
  nextPage: anything,
  next_cursor: anything,
  has_more: anything,
  hasMore: anything,
});

/** A number, also as text; what is no finite number is absent. */
export function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value.trim())) return Number(value);
  return undefined;
}
