import { z } from 'zod';

/** Storage in GB that every virtual machine has at least. */
export const LEAST_STORAGE_GB = 100;
export const STORAGE_STEP_GB = 50;
const RAM_LADDER = [2, 4, 6, 8, 10, 16, 32, 48, 64, 80, 96, 128, 144, 160, 176, 192, 208, 224, 240, 256, 512];
const IMAGES = [
  'ubuntu2204',
  'ubuntu2404',
  'ubuntu2404_ml_everything',
  'ubuntu2404_ml_pytorch',
  'ubuntu2404_ml_tensorflow',
  'windows10',
  'debian12',
];
const LONGEST_NAME = 60;

export type CreateBody = z.infer<ReturnType<typeof createBodySchema>>;
export type CreateAttributes = CreateBody['data']['attributes'];

/** A create as the vendor checks it. It ignores fields that it does not know; strict mode refuses them, and names that do not travel well. */
export function createBodySchema(mode: 'strict' | 'lenient') {
  const object = <Shape extends z.ZodRawShape>(shape: Shape) => (mode === 'strict' ? z.strictObject(shape) : z.object(shape));
  const count = z.int().min(0);
  const port = z.int().min(1).max(65_535);
  const name = z.string().min(1, 'name is required');
  const resources = object({
    vcpu_count: z.int().min(2).multipleOf(2, 'vcpu_count must be an even number'),
    ram_gb: count.refine((gb) => RAM_LADDER.includes(gb), `ram_gb must be one of ${RAM_LADDER.join(', ')}`),
    storage_gb: count.min(LEAST_STORAGE_GB, `storage_gb must be at least ${LEAST_STORAGE_GB}`),
    gpus: z.record(z.string(), object({ count: z.int().min(1) })).nullish(),
  });
  const cloudInit = object({
    runcmd: z.array(z.union([z.string(), z.array(z.string())])).nullish(),
    packages: z.array(z.unknown()).nullish(),
    package_update: z.boolean().nullish(),
    package_upgrade: z.boolean().nullish(),
    write_files: z
      .array(
        object({
          path: z.string(),
          content: z.string(),
          owner: z.string().optional(),
          permissions: z.string().optional(),
        }),
      )
      .nullish(),
  });
  const attributes = object({
    name: mode === 'strict' ? name.max(LONGEST_NAME).regex(/^[a-z0-9-]+$/, 'strict: a name that is kept everywhere') : name,
    type: z.literal('virtualmachine'),
    image: z.string().refine((image) => IMAGES.includes(image), 'image is not available'),
    resources,
    location_id: z.string().nullish(),
    hostnode_id: z.string().nullish(),
    port_forwards: z.array(object({ internal_port: port, external_port: port })).nullish(),
    useDedicatedIp: z.boolean().nullish(),
    ssh_key: z.string().nullish(),
    ssh_key_id: z.string().nullish(),
    password: z.string().nullish(),
    cloud_init: cloudInit.nullish(),
  }).superRefine((asked, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', message, path });
    const isLinux = asked.image !== 'windows10';
    const gpus = Object.keys(asked.resources.gpus ?? {});
    const hasLocation = (asked.location_id ?? '') !== '';
    const hasKey = (asked.ssh_key ?? '') !== '';
    if (hasLocation === ((asked.hostnode_id ?? '') !== ''))
      refuse(['location_id'], 'Exactly one of location_id and hostnode_id must be given');
    if (hasLocation && gpus.length === 0) refuse(['resources', 'gpus'], 'At least one GPU is required for a location deploy');
    if (gpus.length > 1) refuse(['resources', 'gpus'], 'Only one GPU model is supported');
    if (isLinux && hasKey === ((asked.ssh_key_id ?? '') !== ''))
      refuse(['ssh_key'], 'Exactly one of ssh_key and ssh_key_id must be given for Linux images');
    const forwardsSsh = asked.port_forwards?.some(({ internal_port: internal }) => internal === 22) === true;
    if (isLinux && asked.useDedicatedIp !== true && !forwardsSsh)
      refuse(['port_forwards'], 'SSH port (22) must be forwarded for Ubuntu VMs');
  });
  return object({ data: object({ type: z.literal('virtualmachine'), attributes }) });
}
