import type { EpochMs } from '../core/clock.ts';
import { DAY_MS } from '../core/duration.ts';
import type { Period } from '../costs/cost-repository.ts';
import { invalidInput, type Fault } from './input-faults.ts';

export interface PeriodQuery {
  readonly period?: 'daily' | 'monthly' | undefined;
  readonly start_date?: string | undefined;
  readonly end_date?: string | undefined;
}

/**
 * The time that a question for costs is about, in UTC. `daily` is today, `monthly` this month. Otherwise from the midnight of one date to
 * that of the other, which is excluded; a missing start is the first of the end's month, a missing end the end of the start's month.
 */
export function periodOf({ period, start_date: startText, end_date: endText }: PeriodQuery, now: EpochMs): Period {
  const today = Math.floor(now / DAY_MS) * DAY_MS;
  if (period === 'daily') return { from: today, until: today + DAY_MS };
  if (period === 'monthly') return { from: monthOf(now, 0), until: monthOf(now, 1) };

  const faults: Fault[] = [];
  const start = dateOf('start_date', startText, faults);
  const end = dateOf('end_date', endText, faults);
  if (start !== undefined && end !== undefined && start > end)
    faults.push({ field: 'start_date', message: 'must not be later than end_date' });
  if (faults.length > 0) throw invalidInput(faults);
  return { from: start ?? monthOf(end ?? now, 0), until: end ?? monthOf(start ?? now, 1) };
}

/** The first of the month of an instant, or of a later month. */
function monthOf(at: EpochMs, monthsLater: number): EpochMs {
  const date = new Date(at);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + monthsLater, 1);
}

function dateOf(field: string, text: string | undefined, faults: Fault[]): EpochMs | undefined {
  if (text === undefined) return undefined;
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  // the parser takes 31 February for 3 March
  if (!Number.isNaN(at) && new Date(at).toISOString().startsWith(text)) return at;
  faults.push({ field, message: 'must be a date such as 2026-01-31' });
  return undefined;
}
