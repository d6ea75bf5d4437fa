import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../test/support/stores.ts';
import { systemClock } from '../core/clock.ts';
import { seededRandom, systemRandom, type Random } from '../core/random.ts';
import { createAuditRepository } from './audit-repository.ts';
import { INSTALLATION_CHAIN, NO_HEAD, rowFault } from './audit-chain.ts';
import { openStore } from './open-store.ts';
import type { Store } from './store.ts';
import { StoreError } from './store-error.ts';

const SEEDS = 200;
const ROWS = 300;
const SLOW_MS = 180_000;

/** What becomes of a file, and of the log beside it. */
const DAMAGES: Readonly<Record<string, (path: string, random: Pick<Random, 'next'>) => void>> = {
  'bits anywhere': (path, random) => flip(path, random, 0, statSync(path).size, 40),
  'bits of its header': (path, random) => flip(path, random, 0, 100, 8),
  'bits of the head of a page': (path, random) => flip(path, random, pageOf(path, random), 16, 8),
  'a page of zeros': (path, random) => overwrite(path, pageOf(path, random), Buffer.alloc(4_096)),
  'a page of another': (path, random) => overwrite(path, pageOf(path, random), pageAt(path, pageOf(path, random))),
  'cut short': (path, random) => truncateSync(path, Math.floor(random.next() * statSync(path).size)),
  'a log of noise': (path, random) =>
    writeFileSync(`${path}-wal`, Buffer.from(Array.from({ length: 8_192 }, () => Math.floor(random.next() * 256)))),
};

const pageOf = (path: string, random: Pick<Random, 'next'>) =>
  4_096 * Math.floor(random.next() * (statSync(path).size / 4_096));
const pageAt = (path: string, at: number) => readFileSync(path).subarray(at, at + 4_096);

function overwrite(path: string, at: number, bytes: Buffer): void {
  const all = readFileSync(path);
  bytes.copy(all, at);
  writeFileSync(path, all);
}

function flip(path: string, random: Pick<Random, 'next'>, from: number, length: number, count: number): void {
  const bytes = readFileSync(path);
  for (let flipped = 0; flipped < count; flipped += 1) {
    const at = from + Math.floor(random.next() * length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random.next() * 8));
  }
  writeFileSync(path, bytes);
}

describe('REL-E7: a damaged database', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-damage-'));
    path = join(folder, 'berth.db');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const open = () =>
    openStore({
      path,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      onFatal: (error) => {
        throw error;
      },
    });
  const bytes = () =>
    ['', '-wal'].map((suffix) =>
      existsSync(path + suffix) && statSync(path + suffix).size > 0 // one that is empty holds nothing
        ? createHash('sha256')
            .update(readFileSync(path + suffix))
            .digest('hex')
        : 'none',
    );

  /** What SQLite cannot see, since it keeps no sums of what stands in a row, the hash chain of the audit log does. */
  async function read(store: Store): Promise<'whole' | 'seen by the chain' | 'seen on reading'> {
    try {
      let head = NO_HEAD;
      const rows = await createAuditRepository(store).list(INSTALLATION_CHAIN);
      for (const row of rows) {
        if (rowFault(row, head) !== undefined) return 'seen by the chain';
        head = row;
      }
      return rows.length === ROWS ? 'whole' : 'seen by the chain';
    } catch (error) {
      if (error instanceof StoreError && error.kind === 'io') return 'seen on reading';
      throw error;
    }
  }

  it(
    `${SEEDS} seeds: is refused by name with the cure and left as it is, or is read to the last row; nothing else ever`,
    async () => {
      const first = await open();
      const audit = createAuditRepository(first);
      for (let at = 1; at <= ROWS; at += 1)
        await audit.append(at, [{ actor: 'broker', kind: 'test.row', data: { at, text: 'x'.repeat(300) } }]);
      await first.close();
      const whole = readFileSync(path);
      const outcomes = new Map<string, number>();

      for (let seed = 1; seed <= SEEDS; seed += 1) {
        const random = seededRandom(seed);
        const names = Object.keys(DAMAGES);
        const how = names[seed % names.length] ?? '';
        rmSync(`${path}-wal`, { force: true });
        writeFileSync(path, whole);
        DAMAGES[how]?.(path, random);
        const before = bytes();

        let outcome: string;
        try {
          const store = await open();
          outcome = await read(store);
          await store.close();
        } catch (error) {
          outcome = 'refused';
          const text = error instanceof Error ? error.message : String(error);
          expect(text, `seed ${seed}, ${how}`).toContain(path);
          expect(text, `seed ${seed}, ${how}`).toMatch(
            /restore a backup|berth recover|newer than this build|no database of Berth/,
          );
          expect(bytes(), `seed ${seed}, ${how}`).toEqual(before);
        }
        outcomes.set(`${how}: ${outcome}`, (outcomes.get(`${how}: ${outcome}`) ?? 0) + 1);
      }

      process.stdout.write(`damaged databases: ${[...outcomes].map(([what, count]) => `${what} ${count}`).join(', ')}\n`);
      expect(outcomes.get('cut short: whole')).toBeUndefined();
      expect(
        [...outcomes].filter(([what]) => what.endsWith('refused')).reduce((sum, [, count]) => sum + count, 0),
      ).toBeGreaterThan(SEEDS / 4);
    },
    SLOW_MS,
  );
});
