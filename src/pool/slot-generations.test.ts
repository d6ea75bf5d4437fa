import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { createSlotGenerations } from './slot-generations.ts';

describe('names of slots', () => {
  let folder: string;
  let clock: FakeClock;
  const open = (log = recordingLog()) => createSlotGenerations({ folder: join(folder, 'pool'), clock, log });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-slots-'));
    clock = new FakeClock();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('stay until a claim, and a claim changes only that slot', async () => {
    const slots = open();
    const [one, two] = [await slots.slotId('m', 'cpu:0'), await slots.slotId('m', 'cpu:1')];

    await slots.advance('m', 'cpu:0');

    expect(await slots.slotId('m', 'cpu:0')).not.toBe(one);
    expect(await slots.slotId('m', 'cpu:1')).toBe(two);
    expect(one).not.toBe(two);
    expect(await slots.slotId('other', 'cpu:1')).not.toBe(two);
  });

  it('survive a restart', async () => {
    const first = open();
    await first.advance('m', 'cpu:0');
    const before = [await first.slotId('m', 'cpu:0'), await first.slotId('m', 'cpu:1')];
    await clock.advance(1_000);

    const second = open();

    expect([await second.slotId('m', 'cpu:0'), await second.slotId('m', 'cpu:1')]).toEqual(before);
  });

  it('are never used twice when the file is lost or unreadable', async () => {
    const seen = new Set<string>();
    for (const harm of [
      async () => undefined,
      () => rm(join(folder, 'pool'), { recursive: true }),
      () => writeFile(join(folder, 'pool/slots.json'), '{'),
    ]) {
      await harm();
      await clock.advance(1_000);
      const slots = open();
      for (let claim = 0; claim < 3; claim += 1) {
        await slots.advance('m', 'cpu:0');
        seen.add(await slots.slotId('m', 'cpu:0'));
      }
    }

    expect(seen.size).toBe(9);
  });

  it('says that a file was unreadable', async () => {
    await open().advance('m', 'k');
    await writeFile(join(folder, 'pool/slots.json'), 'garbage');
    const log = recordingLog();

    await open(log).slotId('m', 'k');

    expect(log.messages('warn')).toEqual(['slot counters are unreadable, begun anew']);
    expect(await readFile(join(folder, 'pool/slots.json'), 'utf8')).toContain('"version":1');
  });

  it('keep all of several claims at once', async () => {
    const slots = open();

    await Promise.all(Array.from({ length: 20 }, (_, index) => slots.advance('m', `cpu:${index}`)));

    const stored = JSON.parse(await readFile(join(folder, 'pool/slots.json'), 'utf8')) as { slots: object };
    expect(Object.keys(stored.slots)).toHaveLength(20);
  });
});
