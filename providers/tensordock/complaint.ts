import { toNumber } from './schema.ts';

/** What a body says against the call that it answers. */
export interface Complaint {
  readonly isError: boolean;
  /** Their own status for it, 400 to 599. */
  readonly status: number | undefined;
  /** A list of `{code, message, path}`. */
  readonly isValidation: boolean;
  /** All that is said, at most 4000 characters. */
  readonly words: string;
}

const NONE: Complaint = { isError: false, status: undefined, isValidation: false, words: '' };
const MOST_WORDS = 4_000;
const MOST_PARTS = 50;
const DEEPEST = 4;
/** Where they put words; other fields may hold keys of ours that they echo. */
const SPEAKING = ['error', 'errors', 'message', 'detail', 'msg', 'code'] as const;

/**
 * Their errors come under any status of HTTP: `{"status": 400, "error": "…"}`, `{"error": "…"}`, or a list of faults in our request. A list of
 * anything else is no complaint.
 */
export function complaintIn(json: unknown): Complaint {
  if (Array.isArray(json))
    return isListOfFaults(json) ? { ...NONE, isError: true, isValidation: true, words: wordsIn(json) } : NONE;
  if (typeof json !== 'object' || json === null) return NONE;
  const error: unknown = 'error' in json ? json.error : undefined;
  const errors: unknown = 'errors' in json ? json.errors : undefined;
  const told = 'status' in json ? toNumber(json.status) : undefined;
  const status = told !== undefined && told >= 400 && told <= 599 ? told : undefined;
  const isValidation = [error, errors].some((each) => Array.isArray(each) && isListOfFaults(each));
  const isFailure = 'success' in json && json.success === false;
  const isError = status !== undefined || isFailure || isSomething(error) || isSomething(errors);
  return { isError, status, isValidation, words: wordsIn(json) };
}

function isListOfFaults(list: readonly unknown[]): boolean {
  return (
    list.length > 0 && list.every((each) => typeof each === 'object' && each !== null && 'message' in each && !('id' in each))
  );
}

/** `error: null`, `""`, `false`, `0`, `[]` and `{}` are said where nothing is wrong. */
function isSomething(value: unknown): boolean {
  if (typeof value === 'string') return value.trim() !== '';
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return value !== undefined && value !== null && value !== false && value !== 0;
}

function wordsIn(json: unknown): string {
  const parts: string[] = [];
  const collect = (value: unknown, depth: number): void => {
    if (parts.length >= MOST_PARTS || depth > DEEPEST) return;
    if (typeof value === 'string') parts.push(value.slice(0, MOST_WORDS));
    else if (Array.isArray(value)) for (const each of value.slice(0, MOST_PARTS)) collect(each, depth + 1);
    else if (typeof value === 'object' && value !== null) {
      const fields = new Map<string, unknown>(Object.entries(value));
      for (const name of SPEAKING) collect(fields.get(name), depth + 1);
    }
  };
  collect(json, 0);
  return parts.join('\n').slice(0, MOST_WORDS).trim();
}
