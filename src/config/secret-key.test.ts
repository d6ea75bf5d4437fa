import { chmod, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSecretKey } from './secret-key.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-secret-key-'));
});
afterEach(() => rm(folder, { recursive: true }));

const beside = () => ({ database: { path: join(folder, 'data', 'berth.db') } });
const named = (file: string) => ({ database: { path: join(folder, 'berth.db'), secretKeyFile: join(folder, file) } });

async function writeKey(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await writeFile(join(folder, file), content);
  await chmod(join(folder, file), mode);
}

describe('loadSecretKey', () => {
  it('makes the key at the first start, for its owner alone, and finds it again', async () => {
    const first = await loadSecretKey(beside());
    const second = await loadSecretKey(beside());

    expect(first).toMatchObject({ ok: true, isNew: true, path: join(folder, 'data', 'secret.key') });
    expect(second).toMatchObject({ ok: true, isNew: false });
    expect(first.ok && second.ok && first.key.reveal()).toEqual(second.ok && second.key.reveal());
    expect(first.ok && first.key.reveal()).toHaveLength(32);
    expect((await stat(first.path)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(folder, 'data'))).toEqual(['secret.key']);
  });

  it('agrees on one key when many processes start at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => loadSecretKey(beside())));

    const keys = new Set(all.map((loaded) => (loaded.ok ? Buffer.from(loaded.key.reveal()).toString('hex') : loaded.fault)));
    expect(keys.size).toBe(1);
    expect(all.filter((loaded) => loaded.ok && loaded.isNew)).toHaveLength(1);
    expect(await readdir(join(folder, 'data'))).toEqual(['secret.key']);
  });

  it('makes no key for a database that has one somewhere, and says what to put back', async () => {
    const loaded = await loadSecretKey(beside(), { mayCreate: false });

    expect(loaded).toMatchObject({ ok: false, fault: expect.stringMatching(/put the file back from the backup/) });
    await expect(readdir(join(folder, 'data'))).rejects.toThrow();
  });

  it('prints nothing of the key', async () => {
    const loaded = await loadSecretKey(beside());

    const text = (await readFile(loaded.path, 'utf8')).trim();
    expect(JSON.stringify(loaded)).not.toContain(text);
  });

  const key = Buffer.from('0123456789abcdef0123456789abcde\n');
  it.each([
    ['raw', key],
    ['base64', key.toString('base64')],
    ['base64 with a line end', `${key.toString('base64')}\n`],
    ['hex', `${key.toString('hex')}\n`],
  ])('reads a named file with a key as %s', async (_form, content) => {
    await writeKey('kek', content);

    const loaded = await loadSecretKey(named('kek'));

    expect(loaded.ok && Buffer.from(loaded.key.reveal())).toEqual(key);
  });

  it('follows the link that an orchestrator mounts, and lets the group of the service read', async () => {
    await writeKey('real', key, 0o440);
    await symlink(join(folder, 'real'), join(folder, 'kek'));

    expect(await loadSecretKey(named('kek'))).toMatchObject({ ok: true });
  });

  it.each([0o644, 0o604, 0o660, 0o622])('refuses a named file with mode %o and says how to mend it', async (mode) => {
    await writeKey('kek', key, mode);

    const loaded = await loadSecretKey(named('kek'));

    expect(loaded).toMatchObject({ ok: false, fault: expect.stringContaining(`mode 0${mode.toString(8)}`) });
    expect(loaded).toMatchObject({ fault: expect.stringContaining('chmod 600') });
  });

  it('refuses a group that can read the file beside the database', async () => {
    const { path } = await loadSecretKey(beside());
    await chmod(path, 0o640);

    expect(await loadSecretKey(beside())).toMatchObject({ ok: false, fault: expect.stringContaining('mode 0640') });
  });

  it.each(['', 'short', `${'ab'.repeat(31)}\n`, 'x'.repeat(44), 'x'.repeat(33)])(
    'refuses a file that holds %j',
    async (content) => {
      await writeKey('kek', content);

      expect(await loadSecretKey(named('kek'))).toMatchObject({
        ok: false,
        fault: expect.stringContaining('a key of 32 bytes'),
      });
    },
  );

  it('never makes a file that SECRET_KEY_FILE names: what was sealed could not be opened with a new key', async () => {
    expect(await loadSecretKey(named('missing'))).toMatchObject({
      ok: false,
      fault: expect.stringContaining('SECRET_KEY_FILE must name a file that exists'),
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses a folder in place of the file', async () => {
    expect(await loadSecretKey({ database: { path: 'x', secretKeyFile: folder } })).toMatchObject({
      ok: false,
      fault: `${folder} must be a file`,
    });
  });
});
