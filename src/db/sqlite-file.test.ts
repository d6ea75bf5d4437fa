import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../test/support/stores.ts';
import { systemClock } from '../core/clock.ts';
import { systemRandom } from '../core/random.ts';
import { anAccount, PROBE_START, probeSchema, probeStatements } from './fixtures/probe-schema.ts';
import { openStoreOf } from './open-store.ts';
import { SqliteDatabase } from './sqlite-driver.ts';
import { isOlder } from './sqlite-file.ts';
import type { Store } from './store.ts';

const schema = probeSchema(PROBE_START);
const holder = fileURLToPath(new URL('./fixtures/hold-database.ts', import.meta.url));
const MODE = 0o777;

describe('SQLite file', () => {
  let folder: string;
  let path: string;
  const stores: Pick<Store, 'close'>[] = [];
  const processes: ChildProcess[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-file-'));
    path = join(folder, 'berth.db');
  });

  afterEach(async () => {
    for (const child of processes.splice(0)) child.kill('SIGKILL');
    for (const store of stores.splice(0)) await store.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function openAt(file = path) {
    const store = await openStoreOf(schema, {
      path: file,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      onFatal: (error) => {
        throw error;
      },
    });
    stores.push(store);
    return store;
  }

  /** Another process on this file: its first line says whether it was let in. */
  async function anotherProcess() {
    const child = spawn(process.execPath, ['--import', 'tsx', holder, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    processes.push(child);
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    return { child, line: String(line) };
  }

  /** Everything that stands in the folder, as it is. */
  const contents = () =>
    Object.fromEntries(
      readdirSync(folder)
        .toSorted()
        .map((name) => [
          name,
          createHash('sha256')
            .update(readFileSync(join(folder, name)))
            .digest('hex'),
        ]),
    );

  it('is as durable on the second opening as on the first', async () => {
    await (await openAt()).close();

    const again = await openAt();

    expect(again.settings).toEqual({
      journal_mode: 'wal',
      synchronous: 2,
      foreign_keys: 1,
      busy_timeout: 250,
      secure_delete: 1,
    });
  });

  it('makes its folder for its owner alone, and the files in it too', async () => {
    const file = join(folder, 'data', 'deep', 'berth.db');

    const store = await openAt(file);
    await store.write(() => probeStatements(store).insert(anAccount()));

    expect(statSync(join(folder, 'data', 'deep')).mode & MODE).toBe(0o700);
    for (const suffix of ['', '-wal', '-shm', '.lock']) expect(statSync(file + suffix).mode & MODE).toBe(0o600);
  });

  it('names the path when its folder cannot be made', async () => {
    writeFileSync(join(folder, 'file'), '');

    await expect(openAt(join(folder, 'file', 'berth.db'))).rejects.toThrow(/folder of the database .*berth\.db cannot be made/);
  });

  it('can be looked at by others while it is open', async () => {
    const store = await openAt();
    await store.write(() => probeStatements(store).insert(anAccount()));

    const visitor = new SqliteDatabase(path, { readonly: true });

    expect(visitor.prepare('SELECT owner FROM accounts').pluck().all()).toEqual(['ann']);
    visitor.close();
  });

  it('REL-D7: a second process on the same file is refused, and a link to it is the same file', async () => {
    const { child, line } = await anotherProcess();
    expect(line).toBe('open');
    symlinkSync(path, join(folder, 'link.db'));

    await expect(openAt()).rejects.toThrow(/in use by another Berth, which holds .*berth\.db\.lock/);
    await expect(openAt(join(folder, 'link.db'))).rejects.toThrow(/in use by another Berth/);
    expect((await anotherProcess()).line).toMatch(/^refused: the database .* is in use/);

    expect(child.exitCode).toBeNull();
  });

  it('REL-D7: SIGKILL frees the file at once', async () => {
    const { child } = await anotherProcess();
    const ended = once(child, 'exit');

    child.kill('SIGKILL');
    await ended;

    expect((await anotherProcess()).line).toBe('open');
  });

  it('is refused a second time within one process too', async () => {
    await openAt();

    await expect(openAt()).rejects.toThrow(/in use/);
  });

  describe('of somebody else', () => {
    it.each(['WAL', 'DELETE'])('is refused by name and left as it was, folder included (journal %s)', async (journal) => {
      const other = new SqliteDatabase(path);
      other.pragma(`journal_mode = ${journal}`);
      other.exec('CREATE TABLE consumers (id TEXT); CREATE TABLE sessions (id TEXT, status TEXT)');
      other.close();
      const before = contents();

      await expect(openAt()).rejects.toThrow(`${path} is not Berth's: it holds the tables consumers, sessions`);

      expect(contents()).toEqual(before);
    });

    it('is refused while its tables are only in its log', async () => {
      const other = new SqliteDatabase(join(folder, 'other.db'));
      other.pragma('journal_mode = WAL');
      other.exec('CREATE TABLE consumers (id TEXT)');
      for (const suffix of ['', '-wal']) writeFileSync(path + suffix, readFileSync(join(folder, `other.db${suffix}`)));
      other.close();
      const before = contents();

      await expect(openAt()).rejects.toThrow(/holds the tables consumers/);

      expect(contents()).toEqual(before);
    });

    it.each([
      ['text', 'notes to myself\n'.repeat(50)],
      ['a short file', 'x'],
    ])('is refused when it is %s and no database', async (_, text) => {
      writeFileSync(path, text);
      const before = contents();

      await expect(openAt()).rejects.toThrow(/is not Berth's: it is no SQLite database/);

      expect(contents()).toEqual(before);
    });

    it('is refused when it is a folder', async () => {
      await expect(openAt(folder)).rejects.toThrow(/is not Berth's: it is no file/);
    });
  });

  it('takes an empty file, and one that was restored from a dump of ours', async () => {
    writeFileSync(path, '');
    await (await openAt()).close();
    const ours = new SqliteDatabase(path);
    ours.pragma('application_id = 0'); // a dump does not carry it
    ours.close();

    await expect(openAt()).resolves.toMatchObject({ dialect: 'sqlite' });
  });

  it('REL-E7: refuses a damaged file and names the cure', async () => {
    const store = await openAt();
    const { insert } = probeStatements(store);
    const rows = Array.from({ length: 200 }, (_, i) => anAccount({ id: `a${i}`, labels: { padding: 'x'.repeat(200) } }));
    await Promise.all(rows.map((row) => store.write(() => insert(row))));
    await store.close();
    const file = await open(path, 'r+');
    await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, 4096 * 3);
    await file.close();

    await expect(openAt()).rejects.toThrow(/is damaged .*restore a backup/);
  });

  it('REL-E7: refuses a file cut short', async () => {
    const store = await openAt();
    const { insert } = probeStatements(store);
    const rows = Array.from({ length: 200 }, (_, i) => anAccount({ id: `a${i}`, labels: { padding: 'x'.repeat(200) } }));
    await Promise.all(rows.map((row) => store.write(() => insert(row))));
    await store.close();
    truncateSync(path, 4096 * 4);

    await expect(openAt()).rejects.toThrow(/is damaged/);
  });

  it('REL-E7: leaves a damaged file and its log byte by byte as they were', async () => {
    const store = await openAt();
    const { insert } = probeStatements(store);
    const rows = Array.from({ length: 200 }, (_, i) => anAccount({ id: `a${i}`, labels: { padding: 'x'.repeat(200) } }));
    await Promise.all(rows.map((row) => store.write(() => insert(row))));
    await store.scrub();
    await store.write(() => insert(anAccount({ id: 'last' })));
    const crashed = join(folder, 'crashed.db');
    for (const suffix of ['', '-wal']) writeFileSync(crashed + suffix, readFileSync(path + suffix));
    const file = await open(crashed, 'r+');
    await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, 4096 * 3);
    await file.close();
    const bytes = () =>
      ['', '-wal'].map((suffix) =>
        createHash('sha256')
          .update(readFileSync(crashed + suffix))
          .digest('hex'),
      );
    const before = bytes();

    await expect(openAt(crashed)).rejects.toThrow(/is damaged .*berth recover/);

    expect(bytes()).toEqual(before);
  });

  it('REL-E7: refuses to begin anew where only the log is left', async () => {
    writeFileSync(`${path}-wal`, 'a log');

    await expect(openAt()).rejects.toThrow(/is missing or empty, but its log/);
    expect(existsSync(path)).toBe(false);
  });

  it('keeps no byte of a deleted row after a scrub', async () => {
    const store = await openAt();
    const { insert, remove } = probeStatements(store);
    const onDisk = () => ['', '-wal'].some((suffix) => readFileSync(path + suffix).includes('PRIVATE-KEY-MATERIAL'));
    await store.write(() => insert(anAccount({ labels: { key: 'PRIVATE-KEY-MATERIAL'.repeat(500) } })));
    await store.scrub();
    expect(onDisk()).toBe(true);
    await store.write(() => remove({ id: 'a' }));

    const scrubbed = await store.scrub();

    expect(scrubbed).toBe(true);
    expect(onDisk()).toBe(false);
  });

  it('says that a scrub has to come again while a reader holds the log', async () => {
    const store = await openAt();
    const { insert } = probeStatements(store);
    await store.write(() => insert(anAccount()));
    const visitor = new SqliteDatabase(path, { readonly: true });
    visitor.exec('BEGIN');
    visitor.prepare('SELECT count(*) FROM accounts').get();
    await store.write(() => insert(anAccount({ id: 'b' })));

    const whileRead = await store.scrub();
    visitor.close();

    expect(whileRead).toBe(false);
    expect(await store.scrub()).toBe(true);
  });

  it('lends leases the time of the clock it was given', async () => {
    const now = 1_700_000_000_000;
    const store = await openStoreOf(schema, {
      path,
      clock: { ...systemClock, now: () => now },
      random: systemRandom,
      log: silentLog,
      onFatal: () => {},
    });
    stores.push(store);
    const { insert, lease } = probeStatements(store);
    await store.write(() => insert(anAccount()));

    const [leased] = await store.write(() => lease({ owner: 'me', ttlMs: 500, limit: 1 }));

    expect(leased?.leaseExpiresAt).toBe(now + 500);
  });
});

describe('isOlder', () => {
  it.each([
    ['3.51.2', true],
    ['3.50.7', true],
    ['3.9.0', true],
    ['3.51.3', false],
    ['3.53.2', false],
    ['4.0', false],
  ])('compares %s with 3.51.3 number by number', (version, older) => {
    expect(isOlder(version, '3.51.3')).toBe(older);
  });
});
