// Read by drizzle-kit only, which takes the exports of a file for its tables.
import { sqliteKit } from './columns.ts';
import { defineTables } from './tables.ts';

export const {
  audit,
  sessions,
  attempts,
  events,
  observations,
  idempotency,
  secrets,
  claims,
  costSegments,
  offerSlices,
  leases,
  offerFailures,
  strays,
  controllers,
  installation,
} = defineTables(sqliteKit);
