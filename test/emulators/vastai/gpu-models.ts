export interface GpuModel {
  readonly name: string;
  readonly smiName: string;
  /** As the driver tells it. */
  readonly mib: number;
  readonly roundMib: number;
  readonly computeCap: number;
  readonly bandwidth: number;
  readonly tflops: number;
  readonly dlperf: number;
  readonly watts: number;
  /** One GPU's middle price on demand, $/h. */
  readonly price: number;
  readonly sizes: readonly number[];
}

const m = (
  name: string,
  smiName: string,
  [mib, roundMib]: [number, number],
  [computeCap, bandwidth, tflops, dlperf, watts]: [number, number, number, number, number],
  price: number,
  sizes: readonly number[],
): GpuModel => ({ name, smiName, mib, roundMib, computeCap, bandwidth, tflops, dlperf, watts, price, sizes });

/** Names with spaces as the market writes them: they are not the driver's. */
export const GPU_MODELS: readonly GpuModel[] = [
  m('RTX 4090', 'NVIDIA GeForce RTX 4090', [24564, 24576], [890, 937.4, 81.6, 98.4, 450], 0.35, [1, 2, 4, 8]),
  m('RTX 3090', 'NVIDIA GeForce RTX 3090', [24576, 24576], [860, 871.2, 35.6, 43.1, 350], 0.19, [1, 2, 4]),
  m('RTX 5090', 'NVIDIA GeForce RTX 5090', [32607, 32768], [1200, 1512.3, 104.8, 165.2, 575], 0.55, [1, 2, 4, 8]),
  m('RTX 4090D', 'NVIDIA GeForce RTX 4090 D', [24564, 24576], [890, 937.4, 73.5, 90.2, 425], 0.31, [1, 4]),
  m('RTX 3060 Ti', 'NVIDIA GeForce RTX 3060 Ti', [8192, 8192], [860, 402.1, 16.2, 17.9, 200], 0.08, [1, 2]),
  m('RTX A5000', 'NVIDIA RTX A5000', [24564, 24576], [860, 667.1, 27.8, 35.8, 230], 0.22, [1, 2, 4]),
  m('RTX A6000', 'NVIDIA RTX A6000', [49140, 49152], [860, 672.8, 38.7, 46.5, 300], 0.45, [1, 2, 4, 8]),
  m('A100 SXM4', 'NVIDIA A100-SXM4-80GB', [81920, 81920], [800, 1709.2, 19.5, 92.3, 400], 0.95, [1, 4, 8]),
  m('A100 PCIE', 'NVIDIA A100 80GB PCIe', [81920, 81920], [800, 1554.5, 19.5, 84.6, 300], 0.85, [1, 2]),
  m('H100 SXM', 'NVIDIA H100 80GB HBM3', [81559, 81920], [900, 2610.1, 66.9, 204.3, 700], 2.05, [1, 8]),
  m('H100 NVL', 'NVIDIA H100 NVL', [95830, 98304], [900, 3021.7, 60.3, 188.7, 400], 1.9, [1, 2]),
  m('H200', 'NVIDIA H200', [143771, 144384], [900, 3801.6, 66.9, 231.1, 700], 2.6, [1, 8]),
  m('L40S', 'NVIDIA L40S', [46068, 49152], [890, 672.5, 91.6, 104.2, 350], 0.7, [1, 4]),
  m('Tesla T4', 'Tesla T4', [15360, 16384], [750, 244.1, 8.1, 9.8, 70], 0.12, [1, 4]),
  m('Tesla V100', 'Tesla V100-SXM2-32GB', [32768, 32768], [700, 776.3, 15.7, 21.4, 300], 0.24, [1, 8]),
  m('Q RTX 8000', 'Quadro RTX 8000', [49152, 49152], [750, 561.2, 16.3, 24.9, 260], 0.3, [1, 2]),
];
