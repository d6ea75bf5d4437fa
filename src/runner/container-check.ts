import { z } from 'zod';
import type { ContainerTemplate } from './container-template.ts';

const Words = z.array(z.string()).nullish();

/** What of an inspected container bears on the machine's safety and on its neighbours. */
const HostConfigRead = z.object({
  Privileged: z.boolean().nullish(),
  CapAdd: Words,
  CapDrop: Words,
  SecurityOpt: Words,
  NetworkMode: z.string().nullish(),
  PidMode: z.string().nullish(),
  IpcMode: z.string().nullish(),
  UTSMode: z.string().nullish(),
  UsernsMode: z.string().nullish(),
  Binds: z.array(z.unknown()).nullish(),
  Mounts: z.array(z.unknown()).nullish(),
  Devices: z.array(z.unknown()).nullish(),
  VolumesFrom: z.array(z.unknown()).nullish(),
  DeviceRequests: z.array(z.object({ Count: z.number().nullish(), DeviceIDs: Words })).nullish(),
  PublishAllPorts: z.boolean().nullish(),
  PortBindings: z.record(z.string(), z.array(z.object({ HostIp: z.string().nullish() })).nullish()).nullish(),
  Memory: z.number().nullish(),
  MemorySwap: z.number().nullish(),
  NanoCpus: z.number().nullish(),
  CpusetCpus: z.string().nullish(),
  PidsLimit: z.number().nullish(),
  Init: z.boolean().nullish(),
  RestartPolicy: z.object({ Name: z.string().nullish() }).nullish(),
});

/**
 * In which points the container that the engine made differs from what was ordered (REL-K8): an engine's own defaults or plugins may have
 * given it more than we meant. Empty when it is as ordered.
 */
export function differencesFromTemplate(
  hostConfig: unknown,
  template: ContainerTemplate,
  engine: { swapLimit: boolean },
): string[] {
  const read = HostConfigRead.safeParse(hostConfig);
  if (!read.success) return ['HostConfig'];
  const made = read.data;
  const wanted = template.HostConfig;
  const points: Record<string, boolean> = {
    Privileged: made.Privileged !== true,
    CapAdd: sameWords(made.CapAdd, wanted.CapAdd),
    CapDrop: sameWords(made.CapDrop, wanted.CapDrop),
    SecurityOpt: sameWords(made.SecurityOpt, wanted.SecurityOpt),
    NetworkMode: made.NetworkMode === wanted.NetworkMode || made.NetworkMode === 'default',
    PidMode: (made.PidMode ?? '') === '',
    IpcMode: made.IpcMode === wanted.IpcMode,
    UTSMode: (made.UTSMode ?? '') === '',
    UsernsMode: (made.UsernsMode ?? '') === '',
    Binds: isEmpty(made.Binds),
    Mounts: isEmpty(made.Mounts),
    Devices: isEmpty(made.Devices),
    VolumesFrom: isEmpty(made.VolumesFrom),
    DeviceRequests:
      sameWords(
        (made.DeviceRequests ?? []).flatMap((request) => request.DeviceIDs ?? []),
        (wanted.DeviceRequests ?? []).flatMap((request) => request.DeviceIDs),
      ) && (made.DeviceRequests ?? []).every((request) => (request.Count ?? 0) === 0),
    PublishAllPorts: made.PublishAllPorts !== true,
    PortBindings: samePorts(made.PortBindings, wanted.PortBindings),
    Memory: made.Memory === wanted.Memory,
    // where the kernel does not count swap, the engine drops this limit with a warning
    MemorySwap: made.MemorySwap === wanted.MemorySwap || !engine.swapLimit,
    NanoCpus: made.NanoCpus === wanted.NanoCpus,
    CpusetCpus: made.CpusetCpus === wanted.CpusetCpus,
    PidsLimit: made.PidsLimit === wanted.PidsLimit,
    Init: made.Init === true,
    RestartPolicy: made.RestartPolicy?.Name === 'no',
  };
  return Object.keys(points).filter((name) => points[name] === false);
}

function sameWords(made: readonly string[] | null | undefined, wanted: readonly string[]): boolean {
  const plain = (words: readonly string[]) =>
    words
      .map((word) => word.replace(/^CAP_/, '').replace(/^no-new-privileges[:=]true$/, 'no-new-privileges'))
      .sort()
      .join(' ');
  return plain(made ?? []) === plain(wanted);
}

function samePorts(
  made: z.infer<typeof HostConfigRead>['PortBindings'],
  wanted: ContainerTemplate['HostConfig']['PortBindings'],
): boolean {
  const plain = (ports: NonNullable<typeof made>) =>
    Object.entries(ports).flatMap(([port, bindings]) => (bindings ?? []).map((binding) => `${binding.HostIp ?? ''} ${port}`));
  return plain(made ?? {}).join() === plain(wanted).join();
}

function isEmpty(list: readonly unknown[] | null | undefined): boolean {
  return (list ?? []).length === 0;
}
