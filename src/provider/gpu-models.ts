/** A GPU that markets sell. */
export interface GpuModel {
  /** The name that we use. */
  readonly name: string;
  /** The sizes that it is sold with, GB of each GPU. */
  readonly vramGb: readonly number[];
  /** Other ways to write it that no rule of `normaliseGpuName` knows. */
  readonly aliases: readonly string[];
}

/**
 * The one table of GPUs: their names, what else markets and drivers call them, and their memory for clouds that do not tell it.
 * A plug is part of a name only where it makes another machine (`SXM`, `NVL`). What is not in here keeps its tidied name.
 */
export const GPU_MODELS: readonly GpuModel[] = [
  // data centre
  gpu('B300', 288, 'B300 SXM', 'HGX B300'),
  gpu('B200', [180, 192], 'B200 SXM', 'HGX B200'),
  gpu('GB200', [186, 192]),
  gpu('GB10', [120, 128]),
  gpu('GH200', [96, 141, 144], 'GH200 SXM'),
  gpu('H200', 141, 'H200 SXM'),
  gpu('H200 NVL', 141),
  gpu('H100 SXM', [80, 64], 'H100 SXM5'),
  gpu('H100 NVL', 94),
  gpu('H100', [80, 96]),
  gpu('H800', 80, 'H800 SXM'),
  gpu('H20', [96, 141], 'H20 SXM'),
  gpu('A100 SXM', [40, 80]),
  gpu('A100', [40, 80]),
  gpu('A100X', 80),
  gpu('A800', [40, 80], 'A800 SXM'),
  gpu('A40', 48),
  gpu('A30', 24),
  gpu('A16', 16),
  gpu('A10', 24),
  gpu('A10G', 24),
  gpu('A2', 16),
  gpu('L40S', 48),
  gpu('L40', 48),
  gpu('L4', 24),
  gpu('L20', 48),
  gpu('T4', 16),
  gpu('T4G', 16),
  gpu('V100 SXM', [16, 32]),
  gpu('V100', [16, 32], 'V100S'),
  gpu('P100', [12, 16], 'P100 SXM'),
  gpu('P40', 24),
  gpu('P4', 8),
  gpu('M40', [12, 24]),
  gpu('M60', 8),
  gpu('K80', 12),
  // workstation
  gpu('RTX PRO 6000', 96, 'RTX PRO 6000 S', 'RTX PRO 6000 WS', 'RTX PRO 6000 Blackwell', ...editionsOf('RTX PRO 6000')),
  gpu('RTX PRO 5000', [48, 72], 'RTX PRO 5000 Blackwell'),
  gpu('RTX PRO 4500', 32, 'RTX PRO 4500 Blackwell'),
  gpu('RTX PRO 4000', 24, 'RTX PRO 4000 Blackwell'),
  gpu('RTX 6000 Ada', 48),
  gpu('RTX 5880 Ada', 48),
  gpu('RTX 5000 Ada', 32),
  gpu('RTX 4500 Ada', 24),
  gpu('RTX 4000 Ada', 20, 'RTX 4000 SFF Ada'),
  gpu('RTX 2000 Ada', 16),
  gpu('RTX A6000', 48),
  gpu('RTX A5500', 24),
  gpu('RTX A5000', 24),
  gpu('RTX A4500', 20),
  gpu('RTX A4000', 16),
  gpu('RTX A2000', [6, 12]),
  gpu('RTX 8000', 48, 'Q RTX 8000'),
  gpu('RTX 6000', 24, 'Q RTX 6000'),
  gpu('RTX 5000', 16, 'Q RTX 5000'),
  gpu('RTX 4000', 8, 'Q RTX 4000'),
  gpu('P6000', 24, 'Q P6000'),
  gpu('P5000', 16, 'Q P5000'),
  gpu('P4000', 8, 'Q P4000'),
  gpu('P2000', 5, 'Q P2000'),
  gpu('GV100', 32, 'Q GV100'),
  // desktop
  gpu('RTX 5090', 32),
  gpu('RTX 5090 D', 32),
  gpu('RTX 5080', 16),
  gpu('RTX 5070 Ti', 16),
  gpu('RTX 5070', 12),
  gpu('RTX 5060 Ti', [8, 16]),
  gpu('RTX 5060', 8),
  gpu('RTX 4090', 24),
  gpu('RTX 4090 D', [24, 48]),
  gpu('RTX 4080 Super', 16, 'RTX 4080S'),
  gpu('RTX 4080', [16, 12]),
  gpu('RTX 4070 Ti Super', 16, 'RTX 4070S Ti', 'RTX 4070 Super Ti', 'RTX 4070 TiS'),
  gpu('RTX 4070 Ti', 12),
  gpu('RTX 4070 Super', 12, 'RTX 4070S'),
  gpu('RTX 4070', 12),
  gpu('RTX 4060 Ti', [8, 16]),
  gpu('RTX 4060', 8),
  gpu('RTX 3090 Ti', 24),
  gpu('RTX 3090', 24),
  gpu('RTX 3080 Ti', [12, 20]),
  gpu('RTX 3080', [10, 12, 20]),
  gpu('RTX 3070 Ti', 8),
  gpu('RTX 3070', 8),
  gpu('RTX 3060 Ti', 8),
  gpu('RTX 3060', [12, 8]),
  gpu('RTX 3050', [8, 6]),
  gpu('RTX 2080 Ti', [11, 22]),
  gpu('RTX 2080 Super', 8, 'RTX 2080S'),
  gpu('RTX 2080', 8),
  gpu('RTX 2070 Super', 8, 'RTX 2070S'),
  gpu('RTX 2070', 8),
  gpu('RTX 2060 Super', 8, 'RTX 2060S'),
  gpu('RTX 2060', [6, 12]),
  gpu('GTX 1660 Ti', 6),
  gpu('GTX 1660 Super', 6, 'GTX 1660S'),
  gpu('GTX 1660', 6),
  gpu('GTX 1650 Super', 4, 'GTX 1650S'),
  gpu('GTX 1650', 4),
  gpu('GTX 1080 Ti', 11),
  gpu('GTX 1080', 8),
  gpu('GTX 1070 Ti', 8),
  gpu('GTX 1070', 8),
  gpu('GTX 1060', [3, 6]),
  gpu('TITAN RTX', 24),
  gpu('TITAN V', 12),
  gpu('TITAN Xp', 12, 'TITAN XP'),
  // AMD
  gpu('MI355X', 288, 'InstinctMI355X'),
  gpu('MI325X', 256, 'InstinctMI325X'),
  gpu('MI300X', 192, 'InstinctMI300X'),
  gpu('MI250', 128, 'MI250X', 'InstinctMI250'),
  gpu('MI210', 64, 'InstinctMI210'),
  gpu('MI100', 32, 'InstinctMI100'),
  gpu('RX 7900 XTX', 24),
  gpu('RX 7900 XT', 20),
  gpu('RX 7900 GRE', 16),
  gpu('RX 6900 XT', 16),
  gpu('RX 6800 XT', 16),
  gpu('Pro W7900', 48, 'PRO W7900'),
];

function gpu(name: string, vramGb: number | readonly number[], ...aliases: readonly string[]): GpuModel {
  return { name, vramGb: typeof vramGb === 'number' ? [vramGb] : vramGb, aliases };
}

/** As the driver writes them. */
function editionsOf(name: string): readonly string[] {
  const editions = ['Server Edition', 'Workstation Edition', 'Max-Q Workstation Edition'];
  return editions.map((edition) => `${name} Blackwell ${edition}`);
}
