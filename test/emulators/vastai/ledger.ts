import type { EpochMs } from '../../../src/core/clock.ts';

/** What a contract costs at a moment: the GPU part only while the container runs, the disk as long as the contract exists. */
export interface Rate {
  readonly state: string;
  readonly gpuPerHour: number;
  readonly diskPerHour: number;
  readonly bandwidthPerHour: number;
}

export interface LedgerSegment extends Rate {
  readonly fromAt: EpochMs;
  /** Absent while it goes on. */
  readonly toAt?: EpochMs;
}

export interface Amounts {
  readonly gpuUsd: number;
  readonly diskUsd: number;
  readonly bandwidthUsd: number;
  readonly totalUsd: number;
}

export interface LedgerAccount extends Amounts {
  readonly contractId: number;
  readonly label: string | null;
  readonly openedAt: EpochMs;
  /** When the destroy was accepted; absent while it exists. */
  readonly closedAt?: EpochMs;
  readonly segments: readonly LedgerSegment[];
}

export interface Ledger {
  open(contractId: number, label: string | null): void;
  relabel(contractId: number, label: string | null): void;
  rate(contractId: number, rate: Rate): void;
  close(contractId: number): void;
  account(contractId: number): LedgerAccount | undefined;
  accounts(): readonly LedgerAccount[];
  /** What a contract cost in a span, by part. */
  spent(contractId: number, fromAt: EpochMs, toAt: EpochMs): Amounts;
  totalUsd(): number;
  usdPerHour(): number;
  clear(): void;
}

interface Book {
  label: string | null;
  readonly openedAt: EpochMs;
  closedAt?: EpochMs;
  readonly segments: { fromAt: EpochMs; toAt?: EpochMs; rate: Rate }[];
}

/** What the vendor really bills, to the millisecond, whether our side remembers the contract or not. */
export function createLedger(now: () => EpochMs): Ledger {
  const books = new Map<number, Book>();
  const bookOf = (contractId: number): Book => {
    const book = books.get(contractId);
    if (book === undefined) throw new Error(`no book of contract ${contractId}`);
    return book;
  };
  const endRate = (book: Book) => {
    const last = book.segments.at(-1);
    if (last !== undefined) last.toAt ??= now();
  };
  const spentBy = (book: Book, fromAt: EpochMs, toAt: EpochMs): Amounts => {
    let gpuUsd = 0;
    let diskUsd = 0;
    let bandwidthUsd = 0;
    for (const { fromAt: began, toAt: ended = now(), rate } of book.segments) {
      const hours = Math.max(0, Math.min(ended, toAt) - Math.max(began, fromAt)) / 3_600_000;
      gpuUsd += hours * rate.gpuPerHour;
      diskUsd += hours * rate.diskPerHour;
      bandwidthUsd += hours * rate.bandwidthPerHour;
    }
    return { gpuUsd, diskUsd, bandwidthUsd, totalUsd: gpuUsd + diskUsd + bandwidthUsd };
  };
  const accountOf = (contractId: number, book: Book): LedgerAccount => ({
    contractId,
    label: book.label,
    openedAt: book.openedAt,
    ...(book.closedAt !== undefined && { closedAt: book.closedAt }),
    segments: book.segments.map(({ fromAt, toAt, rate }) => ({ ...rate, fromAt, ...(toAt !== undefined && { toAt }) })),
    ...spentBy(book, 0, now()),
  });
  return {
    open: (contractId, label) => void books.set(contractId, { label, openedAt: now(), segments: [] }),
    relabel(contractId, label) {
      bookOf(contractId).label = label;
    },
    rate(contractId, rate) {
      const book = bookOf(contractId);
      endRate(book);
      book.segments.push({ fromAt: now(), rate });
    },
    close(contractId) {
      const book = bookOf(contractId);
      endRate(book);
      book.closedAt = now();
    },
    account(contractId) {
      const book = books.get(contractId);
      return book && accountOf(contractId, book);
    },
    accounts: () => [...books].map(([contractId, book]) => accountOf(contractId, book)),
    spent: (contractId, fromAt, toAt) => spentBy(bookOf(contractId), fromAt, toAt),
    totalUsd: () => [...books.values()].reduce((sum, book) => sum + spentBy(book, 0, now()).totalUsd, 0),
    usdPerHour() {
      const running = [...books.values()].flatMap((book) => book.segments.filter(({ toAt }) => toAt === undefined));
      return running.reduce((sum, { rate }) => sum + rate.gpuPerHour + rate.diskPerHour + rate.bandwidthPerHour, 0);
    },
    clear: () => books.clear(),
  };
}

/** One row a second, as long as the account was open and at most `limit` rows. */
export function perSecond(ledger: Ledger, account: LedgerAccount, until: EpochMs, limit = 86_400) {
  const rows: ({ readonly at: EpochMs } & Amounts)[] = [];
  const end = Math.min(account.closedAt ?? until, account.openedAt + limit * 1_000);
  for (let at = account.openedAt; at < end; at += 1_000) {
    rows.push({ at, ...ledger.spent(account.contractId, at, Math.min(at + 1_000, end)) });
  }
  return rows;
}
