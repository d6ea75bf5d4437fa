/** The value below which `part` (0 to 1) of the values lie, by nearest rank; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))] ?? Number.NaN;
}

/** Of rounds: one that was disturbed does not count. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function whole(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en') : '-';
}

export function decimals(value: number, places = 2): string {
  return Number.isFinite(value) ? value.toFixed(places) : '-';
}

/** How much of the comparison the subject reaches, by the round: both halves of a quotient come from the same moment. */
export function medianRatio(subject: readonly number[], comparison: readonly number[]): number {
  return median(subject.map((value, round) => value / (comparison[round] ?? Number.NaN)));
}
