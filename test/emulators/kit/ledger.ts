import type { EpochMs } from '../../../src/core/clock.ts';

/** $/h by part, as long as the instance is in this state. */
export interface LedgerRate<Part extends string> {
  readonly state: string;
  readonly perHour: Readonly<Record<Part, number>>;
}

export interface LedgerSegment<Part extends string> extends LedgerRate<Part> {
  readonly fromAt: EpochMs;
  /** Absent while it goes on. */
  readonly toAt?: EpochMs;
}

export interface Amounts<Part extends string> {
  readonly usd: Readonly<Record<Part, number>>;
  readonly totalUsd: number;
}

export interface LedgerAccount<Part extends string> extends Amounts<Part> {
  readonly instanceId: string;
  readonly name: string;
  readonly openedAt: EpochMs;
  /** When the destroy was accepted; absent while it exists. */
  readonly closedAt?: EpochMs;
  readonly segments: readonly LedgerSegment<Part>[];
}

export interface Ledger<Part extends string> {
  open(instanceId: string, name: string): void;
  rate(instanceId: string, rate: LedgerRate<Part>): void;
  close(instanceId: string): void;
  account(instanceId: string): LedgerAccount<Part> | undefined;
  accounts(): readonly LedgerAccount<Part>[];
  totalUsd(): number;
  usdPerHour(): number;
  /** One row a second, as long as the account was open, and at most `limit` rows. */
  seconds(instanceId: string, limit?: number): readonly ({ readonly at: EpochMs } & Amounts<Part>)[];
}

interface Book<Part extends string> {
  readonly name: string;
  readonly openedAt: EpochMs;
  closedAt?: EpochMs;
  readonly segments: { fromAt: EpochMs; toAt?: EpochMs; rate: LedgerRate<Part> }[];
}

const HOUR_MS = 3_600_000;
const DAY_SECONDS = 86_400;

/** What the vendor really bills, to the millisecond, whether our side remembers the instance or not. */
export function createLedger<Part extends string>(now: () => EpochMs, parts: readonly Part[]): Ledger<Part> {
  const books = new Map<string, Book<Part>>();
  const bookOf = (instanceId: string): Book<Part> => {
    const book = books.get(instanceId);
    if (book === undefined) throw new Error(`there was never an instance ${instanceId}`);
    return book;
  };
  const endRate = (book: Book<Part>) => {
    const last = book.segments.at(-1);
    if (last !== undefined) last.toAt ??= now();
  };
  const spent = (book: Book<Part>, fromAt: EpochMs, toAt: EpochMs): Amounts<Part> => {
    const usdOf = (part: Part) =>
      book.segments.reduce((sum, { fromAt: began, toAt: ended = now(), rate }) => {
        const hours = Math.max(0, Math.min(ended, toAt) - Math.max(began, fromAt)) / HOUR_MS;
        return sum + hours * rate.perHour[part];
      }, 0);
    const pairs = parts.map((part) => [part, usdOf(part)] as const);
    return {
      usd: Object.fromEntries(pairs) as Record<Part, number>, // holds because there is a pair for every part
      totalUsd: pairs.reduce((sum, [, usd]) => sum + usd, 0),
    };
  };
  const accountOf = (instanceId: string, book: Book<Part>): LedgerAccount<Part> => ({
    instanceId,
    name: book.name,
    openedAt: book.openedAt,
    ...(book.closedAt !== undefined && { closedAt: book.closedAt }),
    segments: book.segments.map(({ fromAt, toAt, rate }) => ({ ...rate, fromAt, ...(toAt !== undefined && { toAt }) })),
    ...spent(book, 0, now()),
  });
  return {
    open: (instanceId, name) => void books.set(instanceId, { name, openedAt: now(), segments: [] }),
    rate(instanceId, rate) {
      const book = bookOf(instanceId);
      endRate(book);
      book.segments.push({ fromAt: now(), rate });
    },
    close(instanceId) {
      const book = bookOf(instanceId);
      endRate(book);
      book.closedAt = now();
    },
    account(instanceId) {
      const book = books.get(instanceId);
      return book && accountOf(instanceId, book);
    },
    accounts: () => [...books].map(([instanceId, book]) => accountOf(instanceId, book)),
    totalUsd: () => [...books.values()].reduce((sum, book) => sum + spent(book, 0, now()).totalUsd, 0),
    usdPerHour() {
      const open = [...books.values()].flatMap((book) => book.segments.filter(({ toAt }) => toAt === undefined));
      return open.reduce((sum, { rate }) => sum + parts.reduce((each, part) => each + rate.perHour[part], 0), 0);
    },
    seconds(instanceId, limit = DAY_SECONDS) {
      const book = bookOf(instanceId);
      const end = Math.min(book.closedAt ?? now(), book.openedAt + limit * 1_000);
      const rows: ({ readonly at: EpochMs } & Amounts<Part>)[] = [];
      for (let at = book.openedAt; at < end; at += 1_000) rows.push({ at, ...spent(book, at, Math.min(at + 1_000, end)) });
      return rows;
    },
  };
}
