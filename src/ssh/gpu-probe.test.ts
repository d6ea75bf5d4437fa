import { describe, expect, it } from 'vitest';
import { compareGpus, isSameModel, readGpus } from './gpu-probe.ts';

const answer = (output: string, code: number | undefined = 0, errorOutput = '') => ({ output, code, errorOutput });

describe('readGpus', () => {
  it('reads name, memory and driver of each GPU', () => {
    const reading = readGpus(answer('NVIDIA H100 80GB HBM3, 81559, 550.54.15\nNVIDIA GB10, [N/A], 580.1'));

    expect(reading).toEqual({
      kind: 'read',
      gpus: [
        { name: 'NVIDIA H100 80GB HBM3', vramMib: 81_559, driver: '550.54.15' },
        { name: 'NVIDIA GB10', driver: '580.1' },
      ],
    });
  });

  it('reads what a real H200 answered, which is as it is sold, and no H100', () => {
    const reading = readGpus(answer('NVIDIA H200, 143771, 580.159.04'));
    const gpus = reading.kind === 'read' ? reading.gpus : [];

    expect(gpus).toEqual([{ name: 'NVIDIA H200', vramMib: 143_771, driver: '580.159.04' }]);
    expect(compareGpus(gpus, { count: 1, type: 'H200', vramMib: 143_360, cudaVersion: 13 })).toEqual({ kind: 'as_sold' });
    expect(compareGpus(gpus, { count: 1, type: 'H100 SXM', vramMib: 81_559 })).toMatchObject({ kind: 'mismatch' });
  });

  it.each([
    ['an empty answer', answer('')],
    ['one odd line among good ones', answer('NVIDIA A100, 40960, 550.1\nrm -rf /')],
    ['a missing field', answer('NVIDIA A100, 40960')],
    ['a negative memory', answer('NVIDIA A100, -5, 550.1')],
    ['65 GPUs', answer(Array.from({ length: 65 }, () => 'NVIDIA A100, 40960, 550.1').join('\n'))],
    ['no such command', answer('', 127, 'sh: nvidia-smi: not found')],
    ['a status without a code', answer('', undefined)],
  ])('is not ready for %s', (_case, result) => {
    expect(readGpus(result).kind).toBe('not_ready');
  });
});

describe('compareGpus', () => {
  const gpu = (name: string, vramMib?: number) => ({ name, driver: '1', ...(vramMib === undefined ? {} : { vramMib }) });

  it.each([0, 1, 3])('REL-H6: %i GPUs are not the two that were sold', (count) => {
    const found = Array.from({ length: count }, () => gpu('NVIDIA A100-SXM4-80GB', 81_920));
    expect(compareGpus(found, { count: 2, type: 'A100 SXM', vramMib: 81_920 }).kind).toBe('mismatch');
  });

  it('REL-H6: a card with much less memory is another card', () => {
    expect(compareGpus([gpu('NVIDIA A100-PCIE-40GB', 40_960)], { count: 1, type: 'A100', vramMib: 81_920 }).kind).toBe(
      'mismatch',
    );
  });

  it('REL-H6: another model is not what was sold, though it has the number and the memory', () => {
    expect(compareGpus([gpu('NVIDIA H200', 81_559)], { count: 1, type: 'H100 SXM', vramMib: 81_920 })).toEqual({
      kind: 'mismatch',
      message: 'sold H100 SXM, found NVIDIA H200',
    });
    expect(compareGpus([gpu('NVIDIA GeForce RTX 4090 D', 24_564)], { count: 1, type: 'RTX 4090', vramMib: 24_564 }).kind).toBe(
      'mismatch',
    );
  });

  it('the same chip in another plug is what was sold, since markets often leave that out', () => {
    expect(compareGpus([gpu('Tesla V100-SXM2-32GB', 32_768)], { count: 1, type: 'V100', vramMib: 32_768 })).toEqual({
      kind: 'as_sold',
    });
    expect(compareGpus([gpu('NVIDIA A100 80GB PCIe', 81_920)], { count: 1, type: 'A100 SXM', vramMib: 81_920 })).toEqual({
      kind: 'as_sold',
    });
  });

  it('only warns of a name that nobody knows', () => {
    expect(compareGpus([gpu('Frobnicator 9', 81_559)], { count: 1, type: 'H100 SXM', vramMib: 81_920 })).toEqual({
      kind: 'as_sold',
      warning: 'sold H100 SXM, found Frobnicator 9',
    });
  });

  it('PEER-10.37: a driver that serves less CUDA than was sold is not what was sold', () => {
    const found = (driver: string) => [{ name: 'NVIDIA L40S', vramMib: 46_068, driver }];
    const sold = { count: 1, type: 'L40S', vramMib: 46_068, cudaVersion: 12.9 };

    expect(compareGpus(found('570.133.20'), sold)).toEqual({
      kind: 'mismatch',
      message: 'sold CUDA 12.9, found driver 570.133.20, which serves 12.8',
    });
    expect(compareGpus(found('575.51.03'), sold).kind).toBe('as_sold');
    expect(compareGpus(found('999.1'), sold).kind).toBe('as_sold'); // younger than what we know
    expect(compareGpus(found('535.1'), { count: 1, type: 'L40S', vramMib: 46_068 }).kind).toBe('as_sold');
  });

  it('does not ask for memory where either side does not know it', () => {
    expect(compareGpus([gpu('NVIDIA GB10')], { count: 1, type: 'GB10', vramMib: 122_880 })).toEqual({ kind: 'as_sold' });
    expect(compareGpus([gpu('NVIDIA L4', 23_034)], { count: 1, type: 'L4', vramMib: 0 })).toEqual({ kind: 'as_sold' });
  });
});

describe('isSameModel', () => {
  it.each([
    ['RTX 4090', 'NVIDIA GeForce RTX 4090'],
    ['RTX4090', 'NVIDIA GeForce RTX 4090'],
    ['H100 SXM', 'NVIDIA H100 80GB HBM3'],
    ['H100 SXM5', 'NVIDIA H100 80GB HBM3'],
    ['A100 SXM4', 'NVIDIA A100-SXM4-80GB'],
    ['A100 PCIE', 'NVIDIA A100 80GB PCIe'],
    ['RTX 6000 Ada', 'NVIDIA RTX 6000 Ada Generation'],
    ['RTX A6000', 'NVIDIA RTX A6000'],
    ['GTX 1080 Ti', 'NVIDIA GeForce GTX 1080Ti'],
    ['Tesla V100', 'Tesla V100-SXM2-16GB'],
    ['L40S', 'NVIDIA L40S'],
  ])('%s is %s', (one, other) => {
    expect(isSameModel(one, other)).toBe(true);
    expect(isSameModel(other, one)).toBe(true);
  });

  it.each([
    ['RTX 4090', 'NVIDIA GeForce RTX 4080'],
    ['RTX 3080', 'NVIDIA GeForce RTX 3080 Ti'],
    ['RTX 4070', 'NVIDIA GeForce RTX 4070 SUPER'],
    ['RTX 6000 Ada', 'Quadro RTX 6000'],
    ['A100', 'NVIDIA A10'],
    ['L40', 'NVIDIA L40S'],
    ['RTX', 'NVIDIA GeForce RTX 4090'],
  ])('%s is not %s', (one, other) => {
    expect(isSameModel(one, other)).toBe(false);
  });
});
