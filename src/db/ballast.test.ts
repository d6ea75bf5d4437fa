import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { BALLAST_BYTES, createBallast } from './ballast.ts';

describe('ballast', () => {
  let folder: string;
  let databasePath: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-ballast-'));
    databasePath = join(folder, 'berth.db');
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('holds a megabyte beside the database, once it is asked, and over a restart', () => {
    const clock = new FakeClock();

    expect(createBallast({ databasePath, clock }).holds()).toBe(true);

    expect(statSync(`${databasePath}.ballast`).size).toBe(BALLAST_BYTES);
    expect(createBallast({ databasePath, clock }).release()).toBe(true);
    expect(existsSync(`${databasePath}.ballast`)).toBe(false);
  });

  it('makes whole what a death in the midst of it has left', () => {
    writeFileSync(`${databasePath}.ballast`, 'a part');

    expect(createBallast({ databasePath, clock: new FakeClock() }).holds()).toBe(true);

    expect(statSync(`${databasePath}.ballast`).size).toBe(BALLAST_BYTES);
  });

  it('gives the room up once, and takes it again no sooner than after a second', async () => {
    const clock = new FakeClock();
    const ballast = createBallast({ databasePath, clock });
    ballast.holds();

    expect([ballast.release(), ballast.release()]).toEqual([true, false]);
    expect(ballast.holds()).toBe(false);
    await clock.advance(1_000);
    expect(ballast.holds()).toBe(true);
  });
});
