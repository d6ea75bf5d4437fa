import { fromUsd } from '../../src/core/money.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { gpuKey, normaliseGpuName } from '../../src/provider/gpu-name.ts';

/** A kind of GPU as the market sells it and as `nvidia-smi` names it. */
export interface GpuModel {
  readonly gpuType: string;
  /** The same for every way to write the name. */
  readonly gpuKey: string;
  /** What the driver calls it. */
  readonly smiName: string;
  readonly vramMib: number;
  /** One GPU's middle price. */
  readonly microsPerHour: MicroUsd;
  readonly powerLimitWatts: number;
  /** How often it is seen, against the others. */
  readonly weight: number;
  readonly largestCount: number;
}

export const DRIVER_VERSION = '570.133.20';
export const CUDA_VERSION = 12.8;

/** All of NVIDIA, since every offer with a GPU has to pass `nvidia-smi`. A market of more offers than models has each of them. */
export const GPU_MODELS: readonly GpuModel[] = [
  // the driver's name, MiB, dollars an hour, watts, weight, largest count
  model('NVIDIA GeForce RTX 3090', 24_576, 0.17, 350, 14, 8),
  model('NVIDIA GeForce RTX 4090', 24_564, 0.34, 450, 18, 8),
  model('NVIDIA GeForce RTX 5090', 32_607, 0.52, 575, 10, 8),
  model('NVIDIA GeForce RTX 3060', 12_288, 0.06, 170, 6, 4),
  model('NVIDIA GeForce RTX 4070 Ti', 12_282, 0.11, 285, 4, 2),
  model('NVIDIA RTX A4000', 16_376, 0.1, 140, 5, 4),
  model('NVIDIA RTX A6000', 49_140, 0.45, 300, 7, 8),
  model('NVIDIA RTX 6000 Ada Generation', 49_140, 0.72, 300, 4, 8),
  model('Tesla T4', 15_360, 0.12, 70, 4, 4),
  model('Tesla V100-SXM2-32GB', 32_768, 0.24, 300, 4, 8),
  model('NVIDIA L4', 23_034, 0.32, 72, 5, 4),
  model('NVIDIA L40S', 46_068, 0.79, 350, 6, 8),
  model('NVIDIA A100-SXM4-40GB', 40_960, 0.78, 400, 5, 8),
  model('NVIDIA A100-SXM4-80GB', 81_920, 1.19, 400, 7, 8),
  model('NVIDIA H100 PCIe', 81_559, 1.89, 350, 4, 4),
  model('NVIDIA H100 80GB HBM3', 81_559, 2.29, 700, 9, 8),
  model('NVIDIA H200', 143_771, 3.29, 700, 4, 8),
  model('NVIDIA B200', 183_359, 4.99, 1_000, 2, 8),
];

type Row = [
  smiName: string,
  vramMib: number,
  usdPerHour: number,
  powerLimitWatts: number,
  weight: number,
  largestCount: number,
];

function model(...[smiName, vramMib, usdPerHour, powerLimitWatts, weight, largestCount]: Row): GpuModel {
  const gpuType = normaliseGpuName(smiName);
  return {
    gpuType,
    gpuKey: gpuKey(gpuType),
    smiName,
    vramMib,
    microsPerHour: fromUsd(usdPerHour),
    powerLimitWatts,
    weight,
    largestCount,
  };
}
