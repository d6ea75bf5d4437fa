import { is, Table } from 'drizzle-orm';
import { getTableConfig as postgresConfig, PgTable } from 'drizzle-orm/pg-core';
import { getTableConfig as sqliteConfig, SQLiteTable } from 'drizzle-orm/sqlite-core';

/** One table as a definition wants it or as a database has it. */
export interface TableShape {
  readonly name: string;
  readonly columns: readonly string[];
  /** The names of the unique indexes: without one of them a rule of the broker is not kept. */
  readonly uniqueIndexes: readonly string[];
}

/** The shapes that a definition asks for, whichever kit it was built with. */
export function shapesOf(tables: object): TableShape[] {
  return Object.values(tables)
    .filter((table) => is(table, Table))
    .map((table) => {
      const config = is(table, SQLiteTable) ? sqliteConfig(table) : is(table, PgTable) ? postgresConfig(table) : undefined;
      if (!config) throw new TypeError('a table of neither dialect');
      const indexes = config.indexes.filter((index) => index.config.unique).map((index) => index.config.name ?? '');
      const constraints = config.columns.filter((column) => column.isUnique).map((column) => column.uniqueName ?? '');
      return {
        name: config.name,
        columns: config.columns.map((column) => column.name),
        uniqueIndexes: [...indexes, ...constraints],
      };
    });
}

/** Throws, naming everything that is missing, when a database lacks a table, a column or a unique index. More than asked is fine. */
export function assertShapes(wanted: readonly TableShape[], found: readonly TableShape[]): void {
  const missing = wanted.flatMap(({ name, columns, uniqueIndexes }) => {
    const table = found.find((each) => each.name === name);
    if (!table) return [`table ${name}`];
    return [
      ...columns.filter((column) => !table.columns.includes(column)).map((column) => `column ${name}.${column}`),
      ...uniqueIndexes.filter((index) => !table.uniqueIndexes.includes(index)).map((index) => `unique index ${index}`),
    ];
  });
  if (missing.length > 0)
    throw new Error(`the database lacks ${missing.join(', ')}: it was changed by hand or half restored. Restore a backup`);
}
