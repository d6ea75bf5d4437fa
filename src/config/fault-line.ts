import { plainLine } from '../core/text.ts';

const LOOKS_SECRET = /(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIALS?|AUTH_ID|DATABASE_URL)S?$/;

/** Whether a variable's value must stay out of every message, judged by its name: for blocks whose schema does not say. */
export function looksSecret(variable: string): boolean {
  return LOOKS_SECRET.test(variable);
}

interface Fault {
  readonly variable: string;
  /** What was written; absent when it must not be shown or was not written at all. */
  readonly text?: string | undefined;
  /** What must be, fit behind "must be". */
  readonly rule: string;
  readonly example?: string | undefined;
}

/** One line for one fault: the variable, what stands there, what must stand there, and an example to copy. */
export function faultLine({ variable, text, rule, example }: Fault): string {
  const isQuoted = text !== undefined && rule.includes(`"${text}"`);
  const written = text === undefined || isQuoted ? variable : `${variable}="${plainLine(text, 60)}"`;
  return `${written}: ${rule}${example === undefined ? '' : `. Example: ${variable}=${example}`}`;
}
