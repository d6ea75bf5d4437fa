import { SECOND_MS } from '../../core/duration.ts';

// How long a handler may take before its client is told to come back; what it began goes on. A route without one answers from memory.

/** For routes that read or write the database. */
export const DATABASE_TIME_MS = 30 * SECOND_MS;
/** For routes that may wait for 300 s. */
export const WAITING_TIME_MS = 340 * SECOND_MS;
