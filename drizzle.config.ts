import { defineConfig } from 'drizzle-kit';

// DATABASE_URL means PostgreSQL, otherwise SQLite, as in the broker itself. scripts/migrations.mjs names another folder to write to.
const dialect = process.env['DATABASE_URL'] ? 'postgres' : 'sqlite';

export default defineConfig({
  dialect: dialect === 'postgres' ? 'postgresql' : 'sqlite',
  schema: `./src/db/schema.${dialect}.ts`,
  out: process.env['MIGRATIONS_FOLDER'] ?? `./migrations/${dialect}`,
});
