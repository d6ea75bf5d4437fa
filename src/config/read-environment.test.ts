import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readEnvironment } from './read-environment.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-environment-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('readEnvironment', () => {
  it('reads the environment of the process and the .env of the folder, and puts neither into the other', async () => {
    await writeFile(join(folder, '.env'), 'BERTH_ONLY_IN_DOTENV=1\n');

    const { environment, dotenvText } = readEnvironment(folder);

    expect(environment['PATH']).toBe(process.env['PATH']);
    expect(dotenvText).toBe('BERTH_ONLY_IN_DOTENV=1\n');
    expect(process.env['BERTH_ONLY_IN_DOTENV']).toBeUndefined();
  });

  it('does without a .env', () => {
    expect(readEnvironment(folder)).not.toHaveProperty('dotenvText');
  });

  it('does not pass over a .env that cannot be read', async () => {
    await mkdir(join(folder, '.env'));

    expect(() => readEnvironment(folder)).toThrow('EISDIR');
  });
});
