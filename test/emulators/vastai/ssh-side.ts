import type { EmulatedGpu } from '../kit/emulated-gpu.ts';
import type { SshInstance } from '../kit/instance-ssh.ts';
import { gpuLoad } from './instance-row.ts';
import type { Contract, World } from './world.ts';

/** The contract as its SSH listeners see it, at the moment of each connection. */
export function sshSide(world: World, contract: Contract): SshInstance {
  return {
    user: 'root',
    authorizedKeys: contract.authorizedKeys,
    stage(route) {
      world.agenda.settle();
      const isDead = route === 'proxy' ? contract.fate.isProxyDead : contract.fate.isDirectDead;
      const hasSsh = !contract.runtype.startsWith('args');
      if (isDead || !hasSsh || contract.phase !== 'running') return 'closed';
      if (route === 'direct' && !contract.ports.has('22/tcp')) return 'closed';
      if (contract.override === 'offline' || contract.override === 'unknown') return 'hanging';
      const sinceMs = world.now() - contract.phaseSince;
      if (sinceMs < world.knobs.sshdDelayMs / 2) return 'closed';
      return sinceMs < world.knobs.sshdDelayMs ? 'hanging' : 'speaking';
    },
    gpu: () => gpuOf(world, contract),
  };
}

/** What the machine really has, which the offer need not have told. */
function gpuOf(world: World, contract: Contract): EmulatedGpu {
  const { gpu, cuda, driver } = contract.machine;
  const { specLie } = world.knobs;
  return {
    smiName: gpu.smiName,
    vramMib: specLie === 'vram' ? Math.round(gpu.mib / 2) : gpu.mib,
    count: specLie === 'no-gpus' ? 0 : contract.gpus.length,
    driver,
    cuda: (specLie === 'cuda' ? cuda - 0.4 : cuda).toFixed(1),
    utilisationPercent: gpuLoad(world, contract) ?? 0,
  };
}
