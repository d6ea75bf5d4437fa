import * as p from 'drizzle-orm/pg-core';
import * as s from 'drizzle-orm/sqlite-core';

/**
 * What tables are made of, on SQLite. One definition written against a kit becomes either dialect's table.
 * - `instant` is integer epoch milliseconds, `int` a safe integer; neither dialect sees a date, a time zone or a float.
 * - `bool` and `json` are never null: a prepared statement encodes null too, into `false` and into the text `null`.
 * - an index may be partial: `kit.uniqueIndex('…').on(…).where(sql`…`)`, with a condition that both dialects read.
 */
export const sqliteKit = {
  table: s.sqliteTable,
  index: s.index,
  uniqueIndex: s.uniqueIndex,
  primaryKey: s.primaryKey,
  foreignKey: s.foreignKey,
  text: <T extends string = string>(name: string) => s.text(name).$type<T>(),
  int: (name: string) => s.integer(name, { mode: 'number' }),
  instant: (name: string) => s.integer(name, { mode: 'number' }),
  bool: (name: string) => s.integer(name, { mode: 'boolean' }).notNull(),
  json: <T>(name: string) => s.text(name, { mode: 'json' }).$type<T>().notNull(),
};

/** The column kit that a table definition is written against. */
export type Kit = typeof sqliteKit;

/** The same on PostgreSQL. The cast holds because each column reads and writes the TypeScript type of its namesake above. */
export const postgresKit = {
  table: p.pgTable,
  index: p.index,
  uniqueIndex: p.uniqueIndex,
  primaryKey: p.primaryKey,
  foreignKey: p.foreignKey,
  text: (name: string) => p.text(name),
  int: (name: string) => p.bigint(name, { mode: 'number' }),
  instant: (name: string) => p.bigint(name, { mode: 'number' }),
  bool: (name: string) => p.boolean(name).notNull(),
  json: (name: string) => p.jsonb(name).notNull(),
} as unknown as Kit;
