import type { StartOrder } from '../runner-protocol/messages.ts';
import { formatCpuList } from './cpu-list.ts';

/** The labels of a session's container: the runner's only memory, so that a restart forgets nothing. */
export const LABEL = { tag: 'berth.tag', units: 'berth.units', probe: 'berth.probe', sshd: 'berth.sshd' } as const;

/**
 * The least that sshd needs as root with a terminal is SETUID SETGID SYS_CHROOT AUDIT_WRITE: without AUDIT_WRITE commands work and every
 * terminal is cut. CHOWN gives other users their terminal, KILL lets sshd end its own helper after a refused key.
 */
const SSHD_CAPABILITIES = ['AUDIT_WRITE', 'CHOWN', 'KILL', 'SETGID', 'SETUID', 'SYS_CHROOT'] as const;
/** What apt and dpkg need besides: files of other users, and modes that survive a change of owner. */
const PACKAGE_CAPABILITIES = ['DAC_OVERRIDE', 'FOWNER', 'FSETID'] as const;

const SSH_PORT = '22/tcp';
const MIB = 1024 * 1024;
const NANO = 1_000_000_000;

export interface TemplateSettings {
  /** Address of this machine at which Docker publishes sshd. */
  readonly publishIp: string;
  readonly pidsLimit: number;
  /** The most files that one process may hold open. */
  readonly openFiles: number;
  /** Whether root inside may also do what package managers need. */
  readonly packageCapabilities: boolean;
}

export type ContainerTemplate = ReturnType<typeof containerTemplate>;

/** The whole create body. Nothing of it comes from the tenant but the image's name and the variables (K8). */
export function containerTemplate(order: StartOrder, environment: readonly string[], settings: TemplateSettings) {
  const bytes = order.memoryMib * MIB;
  const capabilities = [...SSHD_CAPABILITIES, ...(settings.packageCapabilities ? PACKAGE_CAPABILITIES : [])].sort();
  return {
    Image: order.image,
    Hostname: order.tag,
    Env: [...environment],
    Labels: { [LABEL.tag]: order.tag, [LABEL.units]: order.units.join(',') },
    ExposedPorts: { [SSH_PORT]: {} },
    HostConfig: {
      Init: true,
      Privileged: false,
      CapDrop: ['ALL'],
      CapAdd: capabilities,
      SecurityOpt: ['no-new-privileges'],
      NetworkMode: 'bridge',
      IpcMode: 'private',
      PublishAllPorts: false,
      PortBindings: { [SSH_PORT]: [{ HostIp: settings.publishIp, HostPort: '' }] },
      Memory: bytes,
      MemorySwap: bytes,
      NanoCpus: new Set(order.cpuIds).size * NANO,
      CpusetCpus: formatCpuList(order.cpuIds),
      PidsLimit: settings.pidsLimit,
      ShmSize: Math.floor(bytes / 2),
      Ulimits: [{ Name: 'nofile', Soft: settings.openFiles, Hard: settings.openFiles }],
      // exec, because editors put their servers there
      Tmpfs: { '/tmp': `rw,exec,nosuid,nodev,mode=1777,size=${Math.floor(bytes / 2)}` },
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      ...(order.gpuUuids.length > 0 && {
        DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: [...order.gpuUuids], Capabilities: [['gpu', 'compute', 'utility']] }],
      }),
    },
  };
}
