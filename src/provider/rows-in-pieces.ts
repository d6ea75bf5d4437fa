import type { Piecework } from '../core/gently.ts';

/** About so much text is parsed at one go: a millisecond's worth. */
const PIECE_CHARACTERS = 128 * 1024;
/** A place that looks like the end of a row and is none is tried so often; then what is left is parsed at once, whatever that takes. */
const MOST_GUESSES = 8;
const ROWS_A_PIECE = 64;
/** The list stands at the top, behind plain fields at most. */
const PLAIN_FIELDS = String.raw`(?:\s*"(?:[^"\\]|\\.){0,200}"\s*:\s*(?:"(?:[^"\\]|\\.){0,2000}"|[-+.\w]{1,40})\s*,){0,20}`;

/**
 * Hands over the elements of the list `name` in an object's text, parsed a few at a time: JSON.parse of megabytes would keep everybody waiting, and
 * so would the collector with all of it alive at once. A piece that JSON.parse reads as whole elements ends where an element ends, so that nothing
 * has to be understood of what lies between. The result is their number; undefined when the text is no object with such a list, whatever was
 * handed over by then.
 */
export function* eachRowInPieces(text: string, name: string, take: (row: unknown) => void): Piecework<number | undefined> {
  const opening = text.length > 2 * PIECE_CHARACTERS ? openingOf(text, name) : undefined;
  let from = opening ?? 0;
  let count = 0;
  for (let piece = opening === undefined ? undefined : nextPiece(text, from); piece; piece = nextPiece(text, from)) {
    for (const row of piece.rows) take(row);
    count += piece.rows.length;
    from = piece.next;
    yield;
  }
  const rest = rowsOf(parsed(opening === undefined ? text : `{${JSON.stringify(name)}:[${text.slice(from)}`), name);
  if (rest === undefined) return undefined;
  for (const [at, row] of rest.entries()) {
    take(row);
    if (at % ROWS_A_PIECE === ROWS_A_PIECE - 1) yield;
  }
  return count + rest.length;
}

/** Where the list's first element begins. */
function openingOf(text: string, name: string): number | undefined {
  const start = new RegExp(String.raw`^\s*\{${PLAIN_FIELDS}\s*"${name}"\s*:\s*\[`).exec(text.slice(0, PIECE_CHARACTERS));
  return start?.[0].length;
}

/** Undefined when what is left has to be parsed as one piece. */
function nextPiece(text: string, from: number): { rows: readonly unknown[]; next: number } | undefined {
  const ending = /\}\s*,(?=\s*\{)/g; // between two objects, as rows are
  ending.lastIndex = from + PIECE_CHARACTERS;
  for (let guess = 0; guess < MOST_GUESSES; guess += 1) {
    const end = ending.lastIndex < text.length ? ending.exec(text) : null;
    if (end === null) return undefined;
    const rows = parsed(`[${text.slice(from, end.index + 1)}]`);
    if (Array.isArray(rows)) return { rows, next: ending.lastIndex };
  }
  return undefined;
}

function rowsOf(body: unknown, name: string): readonly unknown[] | undefined {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return undefined;
  const list = (body as Record<string, unknown>)[name]; // an object has fields by name
  return Array.isArray(list) ? list : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
