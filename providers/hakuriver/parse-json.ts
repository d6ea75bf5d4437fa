import { parse } from 'lossless-json';

/**
 * JSON as JavaScript has it, but for whole numbers beyond 2^53, which stay text: a task's id has 19 digits, and some replies hold it as a bare
 * number. Undefined for what is no JSON.
 */
export function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return parse(text, null, toNumber);
  } catch {
    return undefined; // what a body that is no JSON means is for the reader of the status to say
  }
}

function toNumber(digits: string): number | string {
  const number = Number(digits);
  return /^-?\d+$/.test(digits) && !Number.isSafeInteger(number) ? digits : number;
}
