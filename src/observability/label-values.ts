const OTHER = 'other';

/** Puts what a label may say into a closed set: each value of a metric is a series for ever, in every place that stores them. */
export type LabelGuard = (value: string) => string;

/** The listed values; anything else is `other`. */
export function closedTo(values: readonly string[]): LabelGuard {
  const known = new Set(values);
  return (value) => (known.has(value) ? value : OTHER);
}

/** The first `limit` values that come along, for names that a market makes up and nobody can list; the rest are `other`. */
export function cappedAt(limit: number): LabelGuard {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= limit || value.length > 64) return OTHER;
    known.add(value);
    return value;
  };
}
