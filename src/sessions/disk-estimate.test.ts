import { expect, it } from 'vitest';
import { estimateDisk } from './disk-estimate.ts';

const size = (modelId: string, quantization?: string, more: { hasTemplate?: boolean; templateFloorGb?: number } = {}) =>
  estimateDisk({ modelId, quantization, hasTemplate: false, ...more });

it('adds weights, half as much again to fetch them, the image and the system, and recommends a fifth more', () => {
  expect(size('meta-llama/Llama-3.1-8B-Instruct')).toEqual({
    weightsGb: 16,
    downloadBufferGb: 8,
    imageGb: 10,
    systemGb: 5,
    minimumGb: 39,
    recommendedGb: 50,
    parametersBillion: 8,
  });
});

it.each([
  ['mistralai/Mixtral-8x7B-Instruct-v0.1', 46.7],
  ['some/moe-4x3b', 12],
  ['Qwen/Qwen2.5-0.5B', 0.5],
  ['qwen2.5:72b', 72],
  ['deepseek-ai/DeepSeek-R1', 671],
  ['deepseek-ai/DeepSeek-R1-Distill-Llama-70B', 70],
  ['deepseek-ai/DeepSeek-R1-0528-Qwen3-8B', 8],
  ['microsoft/phi-4', 14.7],
  ['microsoft/Phi-4-mini-instruct', 3.8],
  ['CohereLabs/c4ai-command-r7b-12-2024', 8],
  ['google/gemma_2b', 2],
])('%s has %d billion parameters', (modelId, billions) => {
  expect(size(modelId)?.parametersBillion).toBe(billions);
});

it.each(['gpt2', 'stabilityai/stable-diffusion-xl', 'v1b2-0b', 'a-99999b', '8bit-model', 'x'.repeat(256)])(
  'does not guess the size of %s',
  (modelId) => {
    expect(size(modelId)).toBeUndefined();
  },
);

it.each([
  ['FP32', 4],
  ['bf16', 2],
  ['none', 2],
  ['FP8', 1],
  ['INT8', 1],
  ['AWQ', 0.5625],
  ['GPTQ', 0.5625],
  ['INT4', 0.5],
  ['GGUF-Q4', 0.5],
  ['gguf-q4_k_m', 0.5],
  ['marvellous', 2],
])('%s takes %d bytes for each parameter', (quantization, bytes) => {
  expect(size('model-100b', quantization)?.weightsGb).toBe(100 * bytes);
});

it.each([
  ['TheBloke/Llama-2-70B-AWQ', 'awq', 39.38],
  ['llama3-70b-Q4_K_M', 'q4_k_m', 35],
  ['neuralmagic/Llama-3-70B-FP8', 'fp8', 70],
])('reads off the name of %s how it is packed', (modelId, quantization, weightsGb) => {
  expect(size(modelId)).toMatchObject({ quantization, weightsGb });
});

it('what is asked counts more than the name', () => {
  expect(size('llama-70b-awq', 'fp16')?.weightsGb).toBe(140);
});

it('a template has a larger image and a floor of its own', () => {
  expect(size('llama-8b', undefined, { hasTemplate: true })).toMatchObject({ imageGb: 15, minimumGb: 44, recommendedGb: 55 });
  expect(size('llama-8b', undefined, { hasTemplate: true, templateFloorGb: 100 })).toMatchObject({
    templateFloorGb: 100,
    minimumGb: 100,
    recommendedGb: 100,
  });
});
