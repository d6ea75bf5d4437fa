import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { endBrokers, startBroker, until, type BrokerProcess } from '../../support/broker-process.ts';
import { shiftedWallClock } from '../../support/faults/fast-time.ts';
import { describePart } from '../../support/parts.ts';
import { QUICK_MARKET } from '../../support/simulated-market.ts';
import { A_GPU, rentRunning, sessionOf, untilSession } from '../../support/wire-session.ts';

const HOURS_2_S = 7_200;
const RESERVED_S = 60;
/** A step that is too small to be a jump: time is believed to have gone by. */
const SMALL_STEP_S = 4;
const SMALL_STEPS = 4;

let folder: string;

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  rmSync(folder, { recursive: true, force: true });
});

describePart('faketime', 'a broker whose wall clock jumps while it runs', () => {
  it.each([
    { fault: 'REL-F1', jumpS: HOURS_2_S, name: 'two hours ahead' },
    { fault: 'REL-F2', jumpS: -HOURS_2_S, name: 'two hours back' },
  ])('$fault: expires nothing early and what is due in time when it goes $name', async ({ jumpS }) => {
    folder = mkdtempSync(join(tmpdir(), 'berth-clock-'));
    const file = join(folder, 'offset');
    const shift = (seconds: number) => writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    shift(0);
    const broker = await startBroker({ env: { ...QUICK_MARKET, MIN_RESERVATION_MINUTES: '1', ...shiftedWallClock(file) } });
    const long = await rentRunning(broker, { body: { ...A_GPU, reservation_hours: 1 } });
    const short = await rentRunning(broker, { body: { ...A_GPU, reservation_hours: RESERVED_S / 3_600 } });
    for (let step = 1; step <= SMALL_STEPS; step += 1) {
      shift(step * SMALL_STEP_S);
      await untilLooked(broker);
    }
    expect((await sessionOf(broker, short.session.id)).status).toBe('running');

    shift(SMALL_STEPS * SMALL_STEP_S + jumpS);
    await until('the jump was seen', async () => {
      const { body } = await broker.api<{ clock_frozen: boolean }>('GET', '/health');
      return body.clock_frozen ? true : undefined;
    });
    const ended = await untilSession(broker, short.session.id, ({ status }) => status === 'stopped');
    const stays = await sessionOf(broker, long.session.id);

    expect(ended.reason).toBe('expired');
    expect(stays).toMatchObject({ status: 'running', expires_at: long.session.expires_at });
  });
});

/** Resolves when a whole pass of the expiry, which looks every second, was begun since. */
async function untilLooked(broker: BrokerProcess): Promise<void> {
  const passes = async () => {
    const { body } = await broker.api<{ controllers: readonly { name: string; runs: number }[] }>('GET', '/api/v1/controllers');
    return body.controllers.find(({ name }) => name === 'session.expiry')?.runs ?? 0;
  };
  const before = await passes();
  await until('two more passes', async () => ((await passes()) >= before + 2 ? true : undefined));
}
