import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { root } from './source-files.ts';

describe('generated files', () => {
  it('say what the code says (.env.example, reference pages, OpenAPI)', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'scripts/generate.mjs'), '--check'], {
      cwd: root,
    });
    expect(stdout).toMatch(/^generate: \d+ files are as the code says$/m);
  });
});
