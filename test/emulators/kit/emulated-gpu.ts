/** The GPUs that an instance really has, which need not be those that were sold. */
export interface EmulatedGpu {
  readonly smiName: string;
  readonly vramMib: number;
  readonly count: number;
  readonly driver: string;
  readonly cuda: string;
  readonly utilisationPercent: number;
  /** What `nvidia-smi` says instead of any answer: a driver that is half installed. */
  readonly failure?: string;
}

/** The table's head, `-L`, or `--query-gpu=… --format=csv…`, as far as a probe reads them. */
export function nvidiaSmi(command: string, gpu: EmulatedGpu): { readonly code: number; readonly output: string } {
  if (gpu.failure !== undefined) return { code: 18, output: `${gpu.failure}\n` };
  if (gpu.count === 0) return { code: 6, output: 'No devices were found\n' };
  const fields = /--query-gpu[= ]([\w.,]+)/.exec(command)?.[1]?.split(',');
  if (fields !== undefined) {
    const row = (index: number) => fields.map((field) => valueOf(field, gpu, index, !command.includes('nounits'))).join(', ');
    const header = command.includes('noheader') ? [] : [fields.join(', ')];
    const rows = Array.from({ length: gpu.count }, (_, index) => row(index));
    return { code: 0, output: `${[...header, ...rows].join('\n')}\n` };
  }
  if (/ -L\b/.test(command)) {
    const lines = Array.from({ length: gpu.count }, (_, index) => `GPU ${index}: ${gpu.smiName} (UUID: GPU-${index})`);
    return { code: 0, output: `${lines.join('\n')}\n` };
  }
  return {
    code: 0,
    output: `| NVIDIA-SMI ${gpu.driver}  Driver Version: ${gpu.driver}  CUDA Version: ${gpu.cuda} |\n| ${gpu.smiName} |\n`,
  };
}

function valueOf(field: string, gpu: EmulatedGpu, index: number, hasUnits: boolean): string {
  const mib = hasUnits ? ' MiB' : '';
  switch (field) {
    case 'name':
    case 'gpu_name':
      return gpu.smiName;
    case 'memory.total':
      return `${gpu.vramMib}${mib}`;
    case 'memory.used':
      return `${Math.round((gpu.vramMib * gpu.utilisationPercent) / 125)}${mib}`;
    case 'driver_version':
      return gpu.driver;
    case 'utilization.gpu':
      return `${Math.round(gpu.utilisationPercent)}${hasUnits ? ' %' : ''}`;
    case 'index':
      return String(index);
    case 'count':
      return String(gpu.count);
    case 'uuid':
      return `GPU-${index}`;
    default:
      return '[N/A]';
  }
}
