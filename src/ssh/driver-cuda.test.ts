import { expect, it } from 'vitest';
import { cudaOfDriver } from './driver-cuda.ts';

it.each([
  ['570.133.20', 12.8],
  ['575.51.03', 12.9],
  ['550.54.15', 12.4],
  ['552.22', 12.4],
  ['535.86.05', 12.2],
  ['580.1', 13],
  ['470.57', 11.4],
])('driver %s serves CUDA %d', (driver, cuda) => {
  expect(cudaOfDriver(driver)).toBe(cuda);
});

it.each(['', '12', '390.157', '600.10', 'ROCm 6.2', '9999.1'])('says nothing of %j', (driver) => {
  expect(cudaOfDriver(driver)).toBeUndefined();
});
