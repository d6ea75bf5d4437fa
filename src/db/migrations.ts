import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** Where a database notes which migrations it has had; its presence is also what makes a database Berth's. */
export const MIGRATIONS_TABLE = 'berth_migrations';

export interface Migration {
  /** The file's name without `.sql`, which sorts. */
  readonly tag: string;
  readonly hash: string;
  readonly statements: readonly string[];
}

/** What the database noted of a migration. */
export interface AppliedMigration {
  readonly tag: string;
  readonly hash: string;
}

const Journal = z.object({ entries: z.array(z.object({ tag: z.string() })) });

/** The migrations of one dialect in their order, as drizzle-kit wrote them. */
export function readMigrations(folder: string): Migration[] {
  const journal = Journal.parse(JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')));
  return journal.entries.map(({ tag }) => {
    const text = readFileSync(join(folder, `${tag}.sql`), 'utf8');
    return { tag, hash: createHash('sha256').update(text).digest('hex'), statements: text.split('--> statement-breakpoint') };
  });
}

/**
 * What is left to apply. Throws when the database is ahead of this build, or when one of its migrations is not the one that this
 * build knows by that name: what such a database looks like nobody can say.
 */
export function pendingMigrations(known: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  for (const [index, { tag, hash }] of applied.entries()) {
    const expected = known[index];
    if (!expected)
      throw new Error(
        `the database is newer than this Berth: it has had migration ${tag}, this build ends at ${known.at(-1)?.tag ?? 'none'}. Start the newer Berth, or restore a backup made before the upgrade`,
      );
    if (expected.tag !== tag || expected.hash !== hash)
      throw new Error(
        `the database has had another migration ${tag} than this build's ${expected.tag}: it was made by a different or unreleased build. Start that one, or begin with a new database`,
      );
  }
  return known.slice(applied.length);
}
