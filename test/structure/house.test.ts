import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { productFiles, repositoryFiles, root } from './source-files.ts';

const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('names of files', () => {
  const code = repositoryFiles().filter((file) => /^(src|providers|test|bench|scripts)\/.*\.(ts|mjs)$/.test(file));

  it('sees the repository', () => {
    expect(code.length).toBeGreaterThan(20);
  });

  it('says what a file is about: no utils, helpers, common, types or service', () => {
    const vague = /^(.*-)?(utils?|helpers?|common|misc|types|service)(\.test)?\.(ts|mjs)$/;
    expect(code.filter((file) => vague.test(basename(file)))).toEqual([]);
  });

  it('is written in kebab-case', () => {
    expect(code.filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/.test(basename(file)))).toEqual([]);
  });

  it('has an index.ts only in providers/', () => {
    expect(code.filter((file) => basename(file) === 'index.ts' && !file.startsWith('providers/'))).toEqual([]);
  });

  it('puts the test beside the file that it is about', () => {
    const lonely = code.filter(
      (file) =>
        /^(src|providers)\/.*\.test\.ts$/.test(file) &&
        !code.some((other) => other !== file && folderOf(other) === folderOf(file)),
    );
    expect(lonely).toEqual([]);
  });
});

describe('product code', () => {
  it('has no barrels: a name is imported from the file that makes it', () => {
    const barrel = /^export\s+(type\s+)?(\*|\{[^}]*\})\s*(as\s+\w+\s+)?from\s/m;
    expect(productFiles().filter((file) => barrel.test(read(file)))).toEqual([]);
  });

  it('silences no gate: what must be excused is excused in the gate, with its reason', () => {
    const silenced = /(oxlint|eslint)-disable|@ts-(ignore|nocheck)/;
    expect(productFiles().filter((file) => silenced.test(read(file)))).toEqual([]);
  });

  it('limits a statement by limitTo: SQLite plans it anew at each execution when its limit is a bare placeholder', () => {
    expect(productFiles().filter((file) => /\.limit\(values\./.test(read(file)))).toEqual([]);
  });

  it('leaves no test focused and no TODO without the issue that it waits for', () => {
    expect(productFiles().filter((file) => /\b(TODO|FIXME|XXX)\b(?!\([\w-]+\))/.test(read(file)))).toEqual([]);
  });
});

describe('the gates', () => {
  it.each(['.ci/run', '.ci/node24.sh'])('%s can be executed', (file) => {
    expect(statSync(join(root, file)).mode & 0o111).not.toBe(0);
    expect(read(file).startsWith('#!/usr/bin/env bash\n')).toBe(true);
  });

  it('find each script that package.json names', () => {
    // package.json is ours and has this shape, or npm would not have started.
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = Object.values(scripts).flatMap((command) => command.match(/scripts\/[\w./-]+/g) ?? []);
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });
});

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf('/'));
}
