import { describe, expect, it } from 'vitest';
import { createAdmission } from './admission.ts';

describe('admission', () => {
  it('lets in until it is closed, and waits then for those inside', async () => {
    const admission = createAdmission({ refusal: () => new Error('closed') });
    let finish = () => {};
    const inside = admission.admit(() => new Promise<string>((resolve) => (finish = () => resolve('made'))));
    let isEmpty = false;

    const closing = admission.close().then(() => (isEmpty = true));
    await Promise.resolve();
    expect(isEmpty).toBe(false);
    await expect(admission.admit(async () => 'too late')).rejects.toThrow('closed');
    finish();
    await closing;

    await expect(inside).resolves.toBe('made');
  });

  it('is closed at once when nobody is inside, and does not mind who failed there', async () => {
    const admission = createAdmission({ refusal: () => new Error('closed') });
    await expect(admission.admit(() => Promise.reject(new Error('no offer')))).rejects.toThrow('no offer');

    await admission.close();
  });
});
