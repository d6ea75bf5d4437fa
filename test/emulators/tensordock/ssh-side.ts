import type { EmulatedGpu } from '../kit/emulated-gpu.ts';
import type { SshInstance, SshPlace, SshRoute } from '../kit/instance-ssh.ts';
import type { Vm, World } from './world.ts';

const DRIVER = { driver: '570.133.20', cuda: '12.8' } as const;
const OLD_CUDA = '11.4';
const MISMATCH = 'Failed to initialize NVML: Driver/library version mismatch';
const ADDRESS_TRIES = 6;
const SSH_PORT = 22;

/**
 * Where its listeners should be: `proxy` is a port of the host that is forwarded, `direct` is port 22 of an address of its own. Such a port may
 * not be ours to open; then it is a free one, and told as a forward.
 */
export function sshPlaces(world: World, vm: Vm): Partial<Record<SshRoute, readonly SshPlace[]>> {
  const part = () => 1 + Math.floor(world.random.next() * 250);
  const own = Array.from({ length: ADDRESS_TRIES }, () => ({
    host: `127.${64 + (part() % 60)}.${part()}.${part()}`,
    port: SSH_PORT,
  }));
  if (vm.isDedicated) return { direct: own };
  const allotted = vm.forwards.find(({ internal }) => internal === SSH_PORT)?.external;
  const others = vm.node.ports.filter((port) => port !== allotted);
  return { proxy: [...(allotted === undefined ? [] : [allotted]), ...others].map((port) => ({ host: '127.0.0.1', port })) };
}

/** The address that the API tells once there is one. */
export function addressOf({ isDedicated, ssh }: Vm): string {
  return isDedicated ? (ssh?.places.direct.host ?? '127.0.0.1') : '127.0.0.1';
}

/** What can be reached from outside, as it is in truth. */
export function openForwards(vm: Vm): readonly { readonly internal: number; readonly external: number }[] {
  const { ssh, forwards, isDedicated, fate } = vm;
  if (isDedicated) {
    const port = ssh?.places.direct.port ?? SSH_PORT;
    return port === SSH_PORT ? [] : [{ internal: SSH_PORT, external: port }];
  }
  if (fate.ignoresForwards) return [];
  return forwards.map((each) =>
    each.internal === SSH_PORT && ssh !== undefined ? { ...each, external: ssh.ports.proxy } : each,
  );
}

/** The virtual machine as its listeners see it, at the moment of each connection. */
export function sshSide(world: World, vm: Vm): SshInstance {
  return {
    user: 'user',
    authorizedKeys: vm.keys.user,
    otherUsers: new Map([['root', vm.keys.root]]),
    stage(route) {
      world.agenda.settle();
      const isMine = (route === 'direct') === vm.isDedicated;
      if (!isMine || vm.phase !== 'running' || openedNothing(vm)) return 'closed';
      if (vm.isSilent) return 'hanging';
      const sshdMs = world.knobs.sshdDelayMs * world.knobs.bootScale;
      const sinceMs = world.now() - vm.ipAt;
      if (sinceMs < sshdMs / 2) return 'closed';
      return sinceMs < sshdMs ? 'hanging' : 'speaking';
    },
    gpu: () => gpuOf(world, vm),
  };
}

function openedNothing(vm: Vm): boolean {
  return !vm.isDedicated && !openForwards(vm).some(({ internal }) => internal === SSH_PORT);
}

/** What `nvidia-smi` finds: the image may lack a driver, install it late, or have half of two. */
function gpuOf(world: World, { node, gpus, fate, readyAt, hasRestarted }: Vm): EmulatedGpu | undefined {
  const isLate = fate.driver === 'late' && world.now() < readyAt + world.knobs.driverDelayMs * world.knobs.bootScale;
  if (gpus === 0 || fate.driver === 'missing' || isLate) return undefined;
  const { smiName, mib } = node.gpu;
  const { specLie } = world.knobs;
  return {
    smiName,
    vramMib: specLie === 'vram' ? Math.round(mib / 2) : mib,
    count: specLie === 'no-gpus' ? 0 : gpus,
    driver: DRIVER.driver,
    cuda: specLie === 'cuda' ? OLD_CUDA : DRIVER.cuda,
    utilisationPercent: world.knobs.load,
    ...(fate.driver === 'mismatch' && !hasRestarted && { failure: MISMATCH }),
  };
}
