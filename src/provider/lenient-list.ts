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
  { limit = LONGEST_LIST }: { readonly limit?: number } = {},
): LenientList<z.output<Schema>> {
  const read: z.output<Schema>[] = [];
  let firstFault: string | undefined;
  for (const [index, candidate] of rows.slice(0, limit).entries()) {
    const parsed = row.safeParse(candidate);
    if (parsed.success) read.push(parsed.data);
    else firstFault ??= describeFault(index, parsed.error);
  }
  if (rows.length > limit) firstFault ??= `${rows.length - limit} rows past the limit of ${limit}`;
  return { rows: read, dropped: rows.length - read.length, firstFault };
}

function describeFault(index: number, error: z.ZodError): string {
  const [issue] = error.issues;
  const field = [index, ...(issue?.path ?? [])].map(String).join('.');
  return `${field}: ${issue?.code ?? 'unreadable'}`;
}
