import type { SimulatedMachine } from './simulated-machine.ts';

const README = `This machine is simulated by Berth, the GPU-market broker that you rented it from.

There is no GPU and no Linux behind it: a small SSH server on loopback answers a few commands (see: help) as the machine
in the offer would. Nothing that you type is executed, nothing costs money.

  nvidia-smi       shows the GPUs that were sold
  gpu-burn 60      makes them busy for a minute (with & also when you log out)
  exit             ends the connection, not the session
`;

const FILES: Readonly<Record<string, (machine: SimulatedMachine) => string>> = {
  '/root/README': () => README,
  '/root/.ssh/authorized_keys': (machine) => machine.record().authorizedKeys,
  '/etc/hostname': (machine) => `${machine.record().tag}\n`,
  '/etc/os-release': () => 'PRETTY_NAME="Berth simulated machine"\nNAME="Berth"\nID=berth\n',
};

export const VIRTUAL_FILES = Object.keys(FILES);

/** Undefined when there is no such file. */
export function readVirtualFile(path: string, machine: SimulatedMachine): string | undefined {
  const absolute = path.startsWith('/') ? path : `/root/${path.replace(/^(~\/|\.\/)/, '')}`;
  return Object.hasOwn(FILES, absolute) ? FILES[absolute]?.(machine) : undefined;
}
