import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { createTaskPool } from './task-pool.ts';

const forever = (signal: AbortSignal) =>
  new Promise<void>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('cut short')), { once: true });
  });

describe('task pool', () => {
  it('takes a key once at a time, and only so many at once', () => {
    const pool = createTaskPool({ concurrency: 2, log: recordingLog() });

    expect([pool.start('a', forever), pool.start('a', forever), pool.start('b', forever), pool.start('c', forever)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(pool.isFull()).toBe(true);
    expect(pool.isFull('another')).toBe(false);
    expect(pool.has('a')).toBe(true);
  });

  it('PEER-11.2.22: a full lane holds up no other', () => {
    const pool = createTaskPool({ concurrency: 1, log: recordingLog() });
    pool.start('a', forever, 'slow');

    expect(pool.start('b', forever, 'slow')).toBe(false);
    expect(pool.start('c', forever, 'quick')).toBe(true);
    expect(pool.inFlight).toBe(2);
  });

  it('a stop cuts short what is at work, and idle resolves; nothing is started any more', async () => {
    const log = recordingLog();
    const pool = createTaskPool({ concurrency: 10, log });
    pool.start('a', forever);
    pool.start('b', forever);

    pool.stop(new Error('over'));
    await pool.idle();

    expect(pool.inFlight).toBe(0);
    expect(pool.start('c', forever)).toBe(false);
    expect(log.entries).toEqual([]);
  });

  it('idle also waits for what was started while it waited', async () => {
    const pool = createTaskPool({ concurrency: 10, log: recordingLog() });
    const done: string[] = [];
    pool.start('a', async () => {
      await Promise.resolve();
      pool.start('b', async () => {
        await Promise.resolve();
        done.push('b');
      });
      done.push('a');
    });

    await pool.idle();

    expect(done).toEqual(['a', 'b']);
  });

  it('REL-D9: what failed is left alone for a while, longer each time, five minutes at most, and a success forgives it', async () => {
    const clock = new FakeClock();
    const log = recordingLog();
    const pool = createTaskPool({ concurrency: 10, log, clock });
    const fail = () => Promise.reject(new Error('poison'));
    const waits: number[] = [];
    for (let count = 0; count < 12; count += 1) {
      let waitedMs = 0;
      while (!pool.start('a', fail)) {
        await clock.advance(500);
        waitedMs += 500;
      }
      await pool.idle();
      waits.push(waitedMs);
    }

    expect(waits.slice(0, 5)).toEqual([0, 1_000, 2_000, 4_000, 8_000]);
    expect(Math.max(...waits)).toBe(300_000);
    expect(pool.start('b', fail)).toBe(true);
    await clock.advance(300_000);
    pool.start('a', () => Promise.resolve());
    await pool.idle();
    expect(pool.start('a', fail)).toBe(true);
    expect(log.entries[0]).toMatchObject({ level: 'error', message: 'task failed', fields: { key: 'a' } });
  });

  it('without a clock, a failure asks for no further pass that would fail at once again', async () => {
    const settled: string[] = [];
    const pool = createTaskPool({ concurrency: 10, log: recordingLog(), onSettled: (key) => void settled.push(key) });

    pool.start('bad', () => Promise.reject(new Error('poison')));
    pool.start('good', () => Promise.resolve());
    await pool.idle();

    expect(settled).toEqual(['good']);
  });
});
