import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { systemClock } from './clock.ts';

const LOST_TO_GARBAGE = `
import { systemClock } from './src/core/clock.ts';
const parent = new AbortController();
let fired = 0;
for (let i = 0; i < 50; i += 1) systemClock.timeoutSignal(30, parent.signal).addEventListener('abort', () => (fired += 1));
const collecting = setInterval(() => globalThis.gc?.(), 5);
setTimeout(() => { clearInterval(collecting); console.log(fired); }, 300);
`;

describe('systemClock', () => {
  it('fires a time-out that has a parent, whatever the garbage collector does', async () => {
    const args = ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', LOST_TO_GARBAGE];

    const { stdout } = await promisify(execFile)(process.execPath, args);

    expect(stdout.trim()).toBe('50');
  });

  it('aborts with the reason of the parent, also when that came first', () => {
    const parent = new AbortController();
    const before = systemClock.timeoutSignal(10_000, parent.signal);
    parent.abort(new Error('enough'));
    const after = systemClock.timeoutSignal(10_000, parent.signal);

    expect([before.reason, after.reason]).toEqual([new Error('enough'), new Error('enough')]);
  });

  it('aborts with a TimeoutError', async () => {
    const signal = systemClock.timeoutSignal(1);

    await expect(systemClock.sleep(10_000, signal)).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  it('sleeps longer than a timer of Node can', async () => {
    const abort = new AbortController();
    const sleep = systemClock.sleep(2 ** 31 * 3, abort.signal);
    const winner = await Promise.race([sleep.then(() => 'slept'), systemClock.sleep(20).then(() => 'still asleep')]);
    abort.abort(new Error('enough'));

    await expect(sleep).rejects.toThrow('enough');
    expect(winner).toBe('still asleep');
  });
});
