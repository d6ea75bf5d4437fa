import type { z } from 'zod';

/** More rows than any market has offers; past it a vendor's answer is at fault, and memory at risk. */
const LONGEST_LIST = 20_000;

export interface LenientList<Row> {
  readonly rows: readonly Row[];
  /** Rows that could not be read, or that lay past `limit`. */
  readonly dropped: number;
  /** What was wrong with the first of them (`3.price: …`), for the log; no value of the vendor is in it. */
  readonly firstFault: string | undefined;
}

/**
 * Reads a vendor's list row by row: one odd row is dropped and counted, the others stay. For lists where a missing row costs nothing
 * but a choice, as offers. Never for instances: there a row that is left out is a machine declared dead.
 */
export function parseLenientList<Schema extends z.ZodType>(
  rows: readonly unknown[],
  row: Schema,
  options: { readonly limit?: number } = {},
): LenientList<z.output<Schema>> {
  const reader = createLenientReader(row, options);
  const read: z.output<Schema>[] = [];
  for (const candidate of rows) {
    const taken = reader.take(candidate);
    if (taken.ok) read.push(taken.row);
  }
  return { rows: read, ...reader.faults() };
}

export interface LenientReader<Row> {
  take(candidate: unknown): { readonly ok: true; readonly row: Row } | { readonly ok: false };
  faults(): Pick<LenientList<Row>, 'dropped' | 'firstFault'>;
}

/** The same for a list that comes bit by bit. */
export function createLenientReader<Schema extends z.ZodType>(
  row: Schema,
  { limit = LONGEST_LIST }: { readonly limit?: number } = {},
): LenientReader<z.output<Schema>> {
  let count = 0;
  let dropped = 0;
  let firstFault: string | undefined;
  return {
    take(candidate) {
      count += 1;
      const parsed = count > limit ? undefined : row.safeParse(candidate);
      if (parsed?.success) return { ok: true, row: parsed.data };
      dropped += 1;
      if (parsed) firstFault ??= describeFault(count - 1, parsed.error);
      return { ok: false };
    },
    faults() {
      if (count > limit) firstFault ??= `${count - limit} rows past the limit of ${limit}`;
      return { dropped, firstFault };
    },
  };
}

function describeFault(index: number, error: z.ZodError): string {
  const [issue] = error.issues;
  const field = [index, ...(issue?.path ?? [])].map(String).join('.');
  return `${field}: ${issue?.code ?? 'unreadable'}`;
}
