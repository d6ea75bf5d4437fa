import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { seededRandom } from '../core/random.ts';
import type { Controller, Report } from './controller.ts';
import { createDriver, type ControllerStatus } from './driver.ts';

const NOTHING: Report = { examined: 0, changed: 0, failed: 0 };

function setUp(
  reconcile: Controller['reconcile'],
  more: Partial<Controller> & { onPass?: (status: ControllerStatus) => void } = {},
) {
  const clock = new FakeClock();
  const log = recordingLog();
  const passes: number[] = [];
  const { onPass, ...rest } = more;
  const controller: Controller = {
    name: 'test.controller',
    periodMs: 10_000,
    reconcile: (options) => {
      passes.push(clock.monotonicMs());
      return reconcile(options);
    },
    ...rest,
  };
  const driver = createDriver({
    controllers: [controller],
    clock,
    random: seededRandom(1),
    log,
    ...(onPass ? { onPass } : {}),
  });
  return { clock, log, passes, driver, status: () => driver.statuses()[0] };
}

describe('driver', () => {
  it('runs a controller at once and then by its period', async () => {
    const { clock, passes, driver } = setUp(async () => NOTHING);
    driver.start();

    await clock.advance(30_000);

    expect(passes).toEqual([0, 10_000, 20_000, 30_000]);
    await driver.stop();
  });

  it('runs it when it is activated, and once more when that came during a pass', async () => {
    let finish = () => {};
    const { clock, passes, driver } = setUp(() => new Promise((resolve) => (finish = () => resolve(NOTHING))));
    driver.start();
    await clock.advance(1_000);
    driver.activate('test.controller');
    driver.activate('test.controller');
    expect(passes).toEqual([0]);

    finish();
    await clock.advance(0);
    expect(passes).toEqual([0, 1_000]);
    finish();
    await clock.advance(5_000);
    expect(passes).toEqual([0, 1_000]);

    driver.activate('test.controller');
    await clock.advance(0);
    expect(passes).toEqual([0, 1_000, 6_000]);
    finish();
    await driver.stop();
  });

  it('runs it at the instant that its report names, if that comes before the period', async () => {
    const { clock, passes, driver } = setUp(async () => ({ ...NOTHING, wakeAt: clock.now() + 3_000 }));
    driver.start();

    await clock.advance(9_500);

    expect(passes).toEqual([0, 3_000, 6_000, 9_000]);
    await driver.stop();
  });

  it('an instant that has passed already is no loop without a rest', async () => {
    const { clock, passes, driver } = setUp(async () => ({ ...NOTHING, wakeAt: clock.now() - 7_200_000 }));
    driver.start();

    await clock.advance(1_000);

    expect(passes.length).toBeLessThanOrEqual(21);
    await driver.stop();
  });

  it('after failures it comes back sooner than its period, with growing and uneven pauses', async () => {
    const { clock, log, passes, driver, status } = setUp(() => Promise.reject(new Error('no')), { periodMs: 600_000 });
    driver.start();

    await clock.advance(600_000);

    const pauses = passes.slice(1).map((at, index) => at - (passes[index] ?? 0));
    expect(pauses[0]).toBeGreaterThanOrEqual(1_000);
    expect(pauses[0]).toBeLessThanOrEqual(2_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
    expect(pauses.slice(-3).every((pause) => pause >= 30_000)).toBe(true);
    expect(new Set(pauses).size).toBe(pauses.length);
    expect(status()).toMatchObject({ consecutiveFailures: passes.length, lastError: 'Error: no' });
    expect(log.messages('error')).toContain('controller pass failed');
    await driver.stop();
  });

  it('a success takes the failures back, and its numbers are data', async () => {
    let failing = true;
    const { clock, driver, status } = setUp(async () => {
      if (failing) throw new Error('no');
      return { ...NOTHING, examined: 4 };
    });
    driver.start();
    await clock.advance(0);
    expect(status()?.consecutiveFailures).toBe(1);
    failing = false;
    await clock.advance(10_000);

    expect(status()).toMatchObject({ consecutiveFailures: 0, lastReport: { examined: 4 }, running: false });
    expect(status()?.lastError).toBeUndefined();
    await driver.stop();
  });

  it('a stop aborts the pass under way and waits for it and for the work that it began', async () => {
    const done: string[] = [];
    let finishWork = () => {};
    const { clock, driver, passes } = setUp(
      ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            done.push('pass');
            resolve(NOTHING);
          });
        }),
      { idle: () => new Promise<void>((resolve) => (finishWork = resolve)).then(() => void done.push('work')) },
    );
    driver.start();
    await clock.advance(0);

    const stopped = driver.stop().then(() => done.push('stopped'));
    await clock.advance(60_000);
    expect(done).toEqual(['pass']);
    finishWork();
    await stopped;

    expect(done).toEqual(['pass', 'work', 'stopped']);
    expect(passes).toEqual([0]);
  });

  it('a stop ends a rest at once', async () => {
    const { clock, driver } = setUp(async () => NOTHING, { periodMs: 86_400_000 });
    driver.start();
    await clock.advance(1_000);

    await driver.stop();

    expect(clock.sleeping).toBe(0);
  });

  it('tells of each pass, and a listener that fails changes nothing', async () => {
    const told: number[] = [];
    const { clock, driver, log } = setUp(async () => NOTHING, {
      onPass: ({ runs }) => {
        told.push(runs);
        throw new Error('disk full');
      },
    });
    driver.start();
    await clock.advance(20_000);

    expect(told).toEqual([1, 2, 3]);
    expect(log.messages('error')).toContain('controller status was not recorded');
    await driver.stop();
  });

  it('knows its controllers by name, and starts once', async () => {
    const { driver } = setUp(async () => NOTHING);
    expect(() => driver.activate('nobody')).toThrow('no controller is named nobody');
    driver.start();
    expect(() => driver.start()).toThrow('started already');
    await driver.stop();
  });
});
