import { describe, expect, it } from 'vitest';
import { GPU_MODELS } from './gpu-models.ts';
import { chipOf, findGpuModel, gpuKey, normaliseGpuName, vramMibByName } from './gpu-name.ts';

describe('normaliseGpuName', () => {
  it.each([
    ['NVIDIA GeForce RTX 4090', 'RTX 4090'],
    ['rtx4090-pcie-24gb', 'RTX 4090'],
    ['geforcertx4090-pcie-24gb', 'RTX 4090'],
    ['RTX_4090', 'RTX 4090'],
    ['NVIDIA GeForce RTX 3080 Ti', 'RTX 3080 Ti'],
    ['rtx3080ti', 'RTX 3080 Ti'],
    ['RTX 4070S Ti', 'RTX 4070 Ti Super'],
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

describe('the table of GPUs', () => {
  it('names each GPU once, in the way that names are normalised to, and no alias means two', () => {
    const written = GPU_MODELS.flatMap(({ name, aliases }) => [name, ...aliases]);
    const meant = new Map(
      GPU_MODELS.flatMap(({ name, aliases }) => [name, ...aliases].map((each) => [gpuKey(each), name] as const)),
    );

    for (const { name, aliases } of GPU_MODELS)
      for (const each of [name, ...aliases]) expect([each, normaliseGpuName(each)]).toEqual([each, name]);
    expect(new Set(GPU_MODELS.map(({ name }) => gpuKey(name))).size).toBe(GPU_MODELS.length);
    expect(meant.size).toBe(GPU_MODELS.length);
    expect(written.length).toBeGreaterThan(GPU_MODELS.length);
  });

  // what Vast.ai, TensorDock and nvidia-smi call the same GPU
  it.each([
    ['RTX 4090', ['RTX 4090', 'geforcertx4090-pcie-24gb', 'NVIDIA GeForce RTX 4090 PCIe 24GB', 'NVIDIA GeForce RTX 4090']],
    ['RTX 4090 D', ['RTX 4090D', 'NVIDIA GeForce RTX 4090 D']],
    ['RTX 3060 Ti', ['RTX 3060 Ti', 'NVIDIA GeForce RTX 3060 Ti']],
    ['RTX 4070 Ti Super', ['RTX 4070S Ti', 'NVIDIA GeForce RTX 4070 Ti SUPER']],
    ['RTX 4080 Super', ['RTX 4080S', 'NVIDIA GeForce RTX 4080 SUPER']],
    ['RTX A5000', ['RTX A5000', 'rtxa5000-pcie-24gb', 'NVIDIA RTX A5000']],
    ['RTX A6000', ['RTX A6000', 'rtxa6000-pcie-48gb', 'NVIDIA RTX A6000']],
    ['RTX 6000 Ada', ['RTX 6000Ada', 'rtx6000ada-pcie-48gb', 'NVIDIA RTX 6000 Ada Generation']],
    ['RTX PRO 6000', ['RTX PRO 6000 WS', 'rtxpro6000-pcie-96gb', 'NVIDIA RTX PRO 6000 Blackwell Workstation Edition']],
    ['A100 SXM', ['A100 SXM4', 'a100-sxm4-80gb', 'NVIDIA A100-SXM4-80GB', 'NVIDIA A100-SXM4-40GB']],
    ['A100', ['A100 PCIE', 'a100-pcie-80gb', 'NVIDIA A100 80GB PCIe', 'NVIDIA A100-PCIE-40GB']],
    ['H100 SXM', ['H100 SXM', 'h100-sxm5-80gb', 'NVIDIA H100 80GB HBM3']],
    ['H100 NVL', ['H100 NVL', 'NVIDIA H100 NVL']],
    ['H100', ['H100 PCIE', 'h100-pcie-80gb', 'NVIDIA H100 PCIe']],
    ['H200', ['H200', 'h200-sxm5-141gb', 'NVIDIA H200']],
    ['H200 NVL', ['H200 NVL', 'NVIDIA H200 NVL']],
    ['B200', ['B200', 'NVIDIA B200']],
    ['GH200', ['GH200 SXM', 'NVIDIA GH200 480GB']],
    ['L4', ['L4', 'l4-pcie-24gb', 'NVIDIA L4']],
    ['L40S', ['L40S', 'l40s-pcie-48gb', 'NVIDIA L40S']],
    ['T4', ['Tesla T4', 't4-pcie-16gb', 'Tesla T4']],
    ['V100 SXM', ['v100-sxm2-16gb', 'Tesla V100-SXM2-32GB']],
    ['RTX 8000', ['Q RTX 8000', 'Quadro RTX 8000']],
    ['RTX 2080 Ti', ['RTX 2080 Ti', 'geforcertx2080ti-pcie-11gb', 'NVIDIA GeForce RTX 2080 Ti']],
    ['GTX 1080 Ti', ['GTX 1080 Ti', 'geforcegtx1080ti-pcie-11gb', 'NVIDIA GeForce GTX 1080 Ti']],
    ['GTX 1660 Super', ['GTX 1660 S', 'NVIDIA GeForce GTX 1660 SUPER']],
    ['TITAN V', ['Titan V', 'NVIDIA TITAN V']],
    ['TITAN RTX', ['Titan RTX', 'NVIDIA TITAN RTX']],
    ['TITAN Xp', ['Titan Xp', 'NVIDIA TITAN Xp']],
    ['A40', ['A40', 'a40-pcie-48gb', 'NVIDIA A40']],
    ['RX 7900 XTX', ['RX 7900 XTX', 'AMD Radeon RX 7900 XTX']],
    ['MI300X', ['InstinctMI300X', 'AMD Instinct MI300X']],
  ])('%s is one GPU, whoever names it', (name, written) => {
    expect(written.map(normaliseGpuName)).toEqual(written.map(() => name));
    expect(findGpuModel(name)?.name).toBe(name);
  });

  it.each([
    ['a100-pcie-80gb', 80],
    ['NVIDIA A100-SXM4-40GB', 40],
    ['A100 SXM', undefined],
    ['RTX 4090', 24],
    ['l4-pcie-24gb', 24],
    ['Tesla V100', undefined],
    ['NVIDIA GH200 480GB', undefined],
    ['rtx4090-pcie-48gb', 48],
    ['RTX 9999', undefined],
  ])('tells the memory of %s from its name, else from the table where that is sure', (name, gb) => {
    expect(vramMibByName(name)).toBe(gb === undefined ? undefined : gb * 1024);
  });

  it('knows which names are one chip in another plug', () => {
    expect(chipOf('Tesla V100')).toBe(chipOf('Tesla V100-SXM2-32GB'));
    expect(chipOf('H100 NVL')).toBe(chipOf('NVIDIA H100 80GB HBM3'));
    expect(chipOf('RTX 4090')).not.toBe(chipOf('RTX 4090D'));
    expect(chipOf('GRID A100-10C')).toBeUndefined();
  });
});
