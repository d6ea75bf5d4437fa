import { describe, expect, it } from 'vitest';
import { anOffer } from '../../test/support/in-memory-account.ts';
import { describeNeed, describeTrait, needsWithDisk, unmetNeeds, type TemplateNeed } from './template.ts';

const offer = anOffer({
  gpuType: 'RTX 4090',
  gpuCount: 2,
  vramMib: 24_564,
  cudaVersion: 12.4,
  maxDiskGb: 400,
  reliability: 0.98,
  location: 'Utah, US',
});
const need = (trait: TemplateNeed['trait'], operator: TemplateNeed['operator'], ...values: TemplateNeed['values']) => ({
  trait,
  operator,
  values,
});

describe('unmetNeeds', () => {
  it.each<[TemplateNeed, boolean]>([
    [need('cuda', 'gte', 12.4), true],
    [need('cuda', 'gte', 12.5), false],
    [need('cuda', 'gt', 12.4), false],
    [need('cuda', 'lt', 12.5), true],
    [need('cuda', 'lt', 12.4), false],
    [need('cuda', 'lte', 12.4), true],
    [need('cuda', 'lte', 12.3), false],
    [need('gpuCount', 'eq', 2), true],
    [need('gpuCount', 'eq', 1), false],
    [need('gpuCount', 'neq', 1), true],
    [need('gpuCount', 'neq', 2), false],
    [need('gpuCount', 'in', 1, 2), true],
    [need('gpuCount', 'in', 4, 8), false],
    [need('gpuCount', 'in'), false],
    [need('gpuCount', 'notin', 4, 8), true],
    [need('gpuCount', 'notin', 2), false],
    [need('gpu', 'eq', 'rtx4090'), true],
    [need('gpu', 'in', 'H100 SXM', 'RTX 4090'), true],
    [need('gpu', 'notin', 'RTX 4090'), false],
    [need('vramMib', 'gte', 24_000), true],
    [need('vramMib', 'gte', 48_000), false],
    [need('totalVramMib', 'gte', 48_000), true],
    [need('diskGb', 'gte', 401), false],
    [need('reliability', 'gt', 0.99), false],
    [need('country', 'in', 'us', 'CA'), true],
    [need('country', 'notin', 'US'), false],
  ])('%o is met: %s', (one, isMet) => {
    expect(unmetNeeds([one], offer)).toEqual(isMet ? [] : [one]);
  });

  it.each([need('gpuCount', 'eq', '2'), need('gpuCount', 'gte', '1'), need('gpu', 'gte', 1), need('cuda', 'gt')])(
    'never takes a text for a number: %o',
    (one) => {
      expect(unmetNeeds([one], offer)).toEqual([one]);
    },
  );

  it('takes what an offer does not tell for unmet, whatever is asked of it', () => {
    const { cudaVersion: _untold, ...silent } = { ...offer, location: 'unknown' };
    const needs = [need('cuda', 'gte', 1), need('cuda', 'neq', 1), need('country', 'notin', 'CN')];

    expect(unmetNeeds(needs, silent)).toEqual(needs);
  });

  it('names all that is unmet, and the disk among it', () => {
    const needs = needsWithDisk({ needs: [need('cuda', 'gte', 12.8), need('gpuCount', 'gte', 1)], recommendedDiskGb: 500 });

    const unmet = unmetNeeds(needs, offer);

    expect(unmet.map((one) => `${describeNeed(one)}: ${describeTrait(one, offer)}`)).toEqual([
      'CUDA at least 12.8: 12.4',
      'GB of disk at least 500: 400',
    ]);
  });
});
