import { expect, it } from 'vitest';
import { gpuModelOf } from './gpu-model.ts';

it.each<[string, string | undefined, string, number]>([
  ['geforcertx4090-pcie-24gb', undefined, 'RTX 4090', 24],
  ['geforcertx4090-pcie-24gb', 'NVIDIA GeForce RTX 4090 PCIe 24GB', 'RTX 4090', 24],
  ['h100-sxm5-80gb', 'NVIDIA H100 SXM5 80GB', 'H100 SXM', 80],
  ['teslav100-sxm2-16gb', undefined, 'V100 SXM', 16],
  ['rtx6000ada-pcie-48gb', undefined, 'RTX 6000 Ada', 48],
  ['rtxpro6000-pcie-96gb', undefined, 'RTX PRO 6000', 96],
  ['rtxpro6000blackwell-96gb', undefined, 'RTX PRO 6000', 96],
  ['geforcertx4090', 'RTX 4090 24GB', 'RTX 4090', 24],
  ['geforcertx4090-24gb', 'RTX 4090 24 GB', 'RTX 4090', 24],
  ['geforcertx4090-1gb', undefined, 'RTX 4090', 1],
  ['geforcertx4090-1024gb', undefined, 'RTX 4090', 1_024],
  ['geforcertx4090-24gb', 'A GPU', 'RTX 4090', 24],
  ['geforcertx4090-24gb', 'GPU 24GB', 'RTX 4090', 24],
  ['foo-16gb', 'Tesla T4 16GB', 'T4', 16],
  ['foo-16gb', 'Arc 9X', 'ARC 9X', 16],
  ['foo1-16gb', 'GPU 7', 'FOO1', 16],
  ['foo1-16gb', 'GPU-24GB-4', 'FOO1', 16],
  ['rtx12ada-8gb', undefined, 'RTX12ADA', 8],
  ['rtx9980ada-8gb', undefined, 'RTX 9980 Ada', 8],
  ['rtxpro9980-8gb', undefined, 'RTX PRO 9980', 8],
  ['teslax9980-8gb', undefined, 'X9980', 8],
  ['24gb_geforcertx4090', undefined, 'RTX 4090', 24],
])('%s, shown as %s, is %s with %i GiB', (model, shown, gpuType, gib) => {
  expect(gpuModelOf(model, shown)).toEqual({ gpuType, vramMib: gib * 1024 });
});

it.each<[string, string | undefined]>([
  ['geforcertx4090-pcie', undefined],
  ['geforcertx4090-pcie', 'RTX 4090'],
  ['geforcertx4090-0gb', undefined],
  ['geforcertx4090-1025gb', undefined],
  ['geforcertx4090x24gb', undefined],
  ['geforcertx4090-24xgb', undefined],
  ['geforcertx4090-24gbx', undefined],
])('%s, shown as %s, tells no size, and is no model', (model, shown) => {
  expect(gpuModelOf(model, shown)).toBeUndefined();
});
