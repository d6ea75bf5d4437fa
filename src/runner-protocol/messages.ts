import { z } from 'zod';

/** Raised when a message changes its meaning; a runner of another version refuses by name. */
export const PROTOCOL_VERSION = 1;

const MiB = z.number().int().min(1).max(1_000_000_000);
const CpuIds = z.array(z.number().int().min(0).max(65_535)).min(1).max(65_536);
const Percent = z.number().min(0).max(100);

/** A GPU as its driver names it. */
export const MachineGpu = z.strictObject({
  uuid: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,80}$/)
    .describe('the id that the driver and Docker know it by'),
  model: z.string().min(1).max(120).describe('as the driver prints it: NVIDIA GeForce RTX 4090'),
  vramMib: MiB.describe('memory of this GPU, MiB'),
});
export type MachineGpu = z.infer<typeof MachineGpu>;

/** What a machine has, whoever uses it. */
export const Inventory = z.strictObject({
  machineId: z
    .string()
    .regex(/^[a-z0-9]{4,40}$/)
    .describe('the same for the life of the engine and its data folder'),
  machineName: z.string().min(1).max(255).describe('host name, for people'),
  cpuIds: CpuIds.describe('numbers of the CPUs that containers may use'),
  memoryMib: MiB.describe('memory of the machine, MiB'),
  diskFreeGb: z
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .optional()
    .describe('room where containers write, GB; absent when it cannot be seen'),
  gpus: z.array(MachineGpu).max(1_024),
  cudaVersion: z.number().min(1).max(1_000).optional().describe('the newest CUDA that the driver serves'),
});
export type Inventory = z.infer<typeof Inventory>;

export const InstanceName = z
  .string()
  .regex(/^[a-z0-9]{4,40}-[0-9a-f]{64}$/)
  .describe('<machine id>-<container id>');

const UnitName = z
  .string()
  .regex(/^(gpu|cpu):[A-Za-z0-9-]{1,80}$/)
  .describe('an indivisible share of the machine: gpu:<uuid> or cpu:<number>');

/** A container of a session, of whatever deployment, in whatever state. */
export const SessionContainer = z.strictObject({
  instanceId: InstanceName,
  tag: z.string().min(1).max(200).describe('the ownership tag it is labelled with, exactly as read'),
  state: z.enum(['created', 'starting', 'running', 'stopping', 'paused', 'failed']),
  failure: z.string().max(400).optional().describe('why it failed: exit code and last log line'),
  ssh: z
    .strictObject({
      host: z.string().min(1).max(255),
      port: z.number().int().min(1).max(65_535),
      user: z.string().min(1).max(64),
      hostKey: z.string().max(200).optional().describe('ssh-ed25519 and its base64, read from the container'),
    })
    .optional(),
  units: z.array(UnitName).max(1_024).describe('the shares of the machine that it holds; empty once it has ended'),
  cpuIds: z.array(z.number().int().min(0).max(65_535)).max(65_536),
  memoryMib: z.number().int().min(0).max(1_000_000_000).describe('its limit, MiB; 0 once it has ended'),
  cpuPercent: Percent.optional().describe('of the cores it rented, since the reading before'),
  gpuPercent: Percent.optional().describe('mean over its GPUs, now'),
  createdAt: z.number().int().min(0).describe('epoch milliseconds'),
});
export type SessionContainer = z.infer<typeof SessionContainer>;

const line = (limit: number) =>
  z
    .string()
    .min(1)
    .max(limit)
    .regex(/^[^\r\n\0]*$/, 'must be one line');

/** An image as Docker writes it; it becomes part of a path of the engine's API, so nothing else may pass. */
const ImageName = z
  .string()
  .max(500)
  .regex(/^[A-Za-z0-9](?:[._:@/-]?[A-Za-z0-9]|__|--+)*$/, 'must be the name of an image, like debian:bookworm');

/** One session to be started, with the exact share of the machine that it gets. */
export const StartOrder = z.strictObject({
  tag: z.string().regex(/^berth-[a-z0-9-]{1,42}$/),
  image: ImageName,
  units: z.array(UnitName).min(1).max(1_024),
  gpuUuids: z.array(MachineGpu.shape.uuid).max(1_024),
  cpuIds: CpuIds,
  memoryMib: MiB,
  sshPublicKeys: z.array(line(16_384)).min(1).max(32),
  environment: z.record(z.string().max(200), z.string().max(131_072)),
  onStart: z.string().max(1_048_576).optional().describe('a script, run in the background as root at every start'),
});
export type StartOrder = z.infer<typeof StartOrder>;

/** What a broker may ask of a runner. */
export const RunnerRequest = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('inventory') }),
  z.strictObject({ kind: z.literal('preflight'), image: ImageName }),
  z.strictObject({ kind: z.literal('start'), order: StartOrder }),
  z.strictObject({ kind: z.literal('get'), instanceId: InstanceName }),
  z.strictObject({
    kind: z.literal('list'),
    utilisation: z.enum(['include', 'omit']).describe('a reading of the meters may take a second'),
  }),
  z.strictObject({ kind: z.literal('stop'), instanceId: InstanceName }),
]);
export type RunnerRequest = z.infer<typeof RunnerRequest>;
export type RunnerRequestKind = RunnerRequest['kind'];

/** The answer to each kind of request. */
export const RunnerReplies = {
  inventory: z.strictObject({ inventory: Inventory }),
  preflight: z.strictObject({
    problem: z.string().max(1_000).optional().describe('what is wrong and how to mend it; absent when all is well'),
  }),
  start: z.strictObject({ container: SessionContainer }),
  get: z.strictObject({
    container: SessionContainer.optional().describe('absent when the engine says that it does not exist'),
  }),
  list: z.strictObject({ containers: z.array(SessionContainer).max(100_000) }),
  stop: z.strictObject({}),
} satisfies Record<RunnerRequestKind, z.ZodType>;
export type RunnerReply<Kind extends RunnerRequestKind> = z.infer<(typeof RunnerReplies)[Kind]>;

/** `full`: no room. `unreachable`: nothing was done. `unknown`: cut off after the order was sent. `refused`: the order is at fault. */
export const RunnerFailureKind = z.enum(['full', 'unreachable', 'unknown', 'refused']);
export type RunnerFailureKind = z.infer<typeof RunnerFailureKind>;

/** What travels to the runner. */
export const RequestEnvelope = z.strictObject({ version: z.literal(PROTOCOL_VERSION), request: RunnerRequest });

/** What travels back; `body` is read by the schema of the request's kind. */
export const ReplyEnvelope = z.discriminatedUnion('outcome', [
  z.strictObject({ version: z.literal(PROTOCOL_VERSION), outcome: z.literal('done'), body: z.unknown() }),
  z.strictObject({
    version: z.literal(PROTOCOL_VERSION),
    outcome: z.literal('failed'),
    kind: RunnerFailureKind,
    message: z.string().max(1_000),
  }),
]);
export type ReplyEnvelope = z.infer<typeof ReplyEnvelope>;
