import { describe, expect, it } from 'vitest';
import { gpuKey, normaliseGpuName } from './gpu-name.ts';

describe('normaliseGpuName', () => {
  it.each([
    ['NVIDIA GeForce RTX 4090', 'RTX 4090'],
    ['rtx4090-pcie-24gb', 'RTX 4090'],
    ['geforcertx4090-pcie-24gb', 'RTX 4090'],
    ['RTX_4090', 'RTX 4090'],
    ['NVIDIA GeForce RTX 3080 Ti', 'RTX 3080 Ti'],
    ['rtx3080ti', 'RTX 3080 Ti'],
    ['RTX 4070S Ti', 'RTX 4070S Ti'],
    ['RTX 4080 SUPER', 'RTX 4080 Super'],
    ['NVIDIA RTX A6000', 'RTX A6000'],
    ['rtxa6000-pcie-48gb', 'RTX A6000'],
    ['NVIDIA RTX 6000 Ada Generation', 'RTX 6000 Ada'],
    ['Tesla T4', 'T4'],
    ['Tesla V100-SXM2-16GB', 'V100 SXM'],
    ['NVIDIA A100-SXM4-80GB', 'A100 SXM'],
    ['A100 PCIE', 'A100'],
    ['a100-pcie-80gb', 'A100'],
    ['NVIDIA H100 80GB HBM3', 'H100 SXM'],
    ['h100-sxm5-80gb', 'H100 SXM'],
    ['NVIDIA H100 PCIe', 'H100'],
    ['H100 NVL', 'H100 NVL'],
    ['NVIDIA(R) L40S', 'L40S'],
    ['AMD Instinct MI300X', 'MI300X'],
    ['CPU', 'CPU'],
    ['  ', 'GPU'],
  ])('%s is %s', (name, normal) => {
    expect(normaliseGpuName(name)).toBe(normal);
  });

  it('leaves a normal name as it is', () => {
    for (const name of ['RTX 4090', 'RTX 3080 Ti', 'H100 SXM', 'RTX 6000 Ada', 'L40S', 'CPU']) {
      expect(normaliseGpuName(name)).toBe(name);
    }
  });
});

describe('gpuKey', () => {
  it('is the same in any case, with or without spaces and hyphens', () => {
    const keys = ['RTX 4090', 'rtx4090', 'RTX-4090', 'rtx_4090', 'GeForce RTX 4090', 'NVIDIA GeForce RTX4090'].map(gpuKey);

    expect(new Set(keys)).toEqual(new Set(['rtx4090']));
  });

  it('tells different GPUs apart', () => {
    const names = [
      'RTX 3080',
      'RTX 3080 Ti',
      'RTX A6000',
      'RTX 6000 Ada',
      'A100',
      'A100 SXM',
      'H100 NVL',
      'H100 SXM',
      'H200 SXM',
    ];

    expect(new Set(names.map(gpuKey)).size).toBe(names.length);
  });
});
