import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atTheEnd } from './end-with-us.ts';

/** A folder for the length of `use`; BENCH_FOLDER says on which disk, since durable writes are as fast as the disk is. */
export async function withScratch<Result>(use: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(process.env['BENCH_FOLDER'] ?? tmpdir(), 'berth-bench-'));
  const forget = atTheEnd(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
    forget();
  }
}
