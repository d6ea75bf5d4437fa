import { z } from 'zod';

const CONTROL = /[\p{Cc}\p{Cs}]/u;
const CONTROL_BUT_LINES = /[\p{Cs}\0]/u;

/** One line for people: no control characters and no half of a character (REL-K5). */
export function line(max: number, min = 0) {
  return z
    .string()
    .min(min)
    .max(max)
    .refine((text) => !CONTROL.test(text), 'must not hold control characters or broken Unicode');
}

/** Text of several lines; a zero byte ends it where nobody expects. */
export function lines(max: number) {
  return z
    .string()
    .max(max)
    .refine((text) => !CONTROL_BUT_LINES.test(text), 'must not hold a zero byte or broken Unicode');
}

export function oneOrMore(entry: z.ZodString) {
  return z
    .union([entry, z.array(entry).min(1).max(50)], 'must be a text or a list of texts')
    .transform((given) => (Array.isArray(given) ? given : [given]));
}

/** A field of an existing contract whose behaviour does not exist: only what asks for nothing is accepted. */
export function onlyDefault<const Values extends readonly [string, ...string[]]>(values: Values, message: string) {
  return z.enum(values, message).optional();
}
