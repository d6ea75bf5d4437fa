import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../core/secret.ts';
import { refuseEmptiedDatabase } from './emptied-database.ts';

describe('REL-E7: an empty database file', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-emptied-'));
    path = join(folder, 'berth.db');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const look = (url?: Secret<string>) => () => refuseEmptiedDatabase({ database: { path, url, secretKeyFile: undefined } });

  it('beside a secret key is refused: it was a database once', () => {
    writeFileSync(path, '');
    writeFileSync(join(folder, 'secret.key'), 'a key');

    expect(look()).toThrow(/is empty, but .*secret\.key says that there was one: restore a backup/);
  });

  it.each([
    ['none is there yet', () => {}],
    ['there is no key either', () => writeFileSync(path, '')],
    ['it is not empty', () => writeFileSync(path, 'x')],
    ['it was taken away, to begin anew', () => writeFileSync(join(folder, 'secret.key'), 'a key')],
  ])('is none of its business when %s', (_, prepare) => {
    prepare();

    expect(look()).not.toThrow();
  });

  it('is none of its business where the database is PostgreSQL', () => {
    writeFileSync(path, '');
    writeFileSync(join(folder, 'secret.key'), 'a key');

    expect(look(new Secret('postgres://db'))).not.toThrow();
  });
});
