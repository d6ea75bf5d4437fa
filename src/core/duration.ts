import parse from 'parse-duration';

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** Reads `90s`, `1h30m`, `PT1H30M` as milliseconds; undefined for anything without a unit, negative, or not a duration. */
export function parseDurationMs(text: string): number | undefined {
  if (!/[a-z]/i.test(text)) return undefined;
  const ms = parse(text.trim());
  return ms === null || ms === undefined || !Number.isFinite(ms) || ms < 0 ? undefined : Math.round(ms);
}

/** `1h 30m` or `5m`, as existing clients print it; `expired` below zero. */
export function formatDuration(ms: number): string {
  if (ms < 0) return 'expired';
  const minutes = Math.floor(ms / MINUTE_MS);
  const hours = Math.floor(minutes / 60);
  return hours > 0 ? `${hours}h ${minutes % 60}m` : `${minutes}m`;
}
