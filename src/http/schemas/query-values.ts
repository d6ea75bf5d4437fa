import { z } from 'zod';

// Query strings are text. Each kind says by itself how its text becomes a value, and shows in OpenAPI as what it becomes.

/** As many digits are still a number, if one that is out of range. */
const WHOLE = /^-?\d{1,300}$/;
const DECIMAL = /^-?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})$/;

/** "12" is 12; " 12", "1e3", "0x10" and "12px" are faults. */
export function wholeNumber({ min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) {
  return z
    .string()
    .regex(WHOLE, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min).max(max))
    .meta({ type: 'integer', minimum: min, ...(max < Number.MAX_SAFE_INTEGER && { maximum: max }), pattern: undefined });
}

/** "0.5", ".5" and "12" are numbers; "1e3" and "NaN" are faults. */
export function decimalNumber({ min = 0, max = 1_000_000_000 }: { min?: number; max?: number } = {}) {
  return z
    .string()
    .regex(DECIMAL, 'must be a number such as 0.5')
    .transform(Number)
    .pipe(z.number().min(min).max(max))
    .meta({ type: 'number', minimum: min, maximum: max, pattern: undefined });
}

/** "true" or "false", nothing else. */
export const yesOrNo = z
  .enum(['true', 'false'], 'must be true or false')
  .transform((text) => text === 'true')
  .meta({ type: 'boolean', enum: undefined });

export const queryText = z.string().max(512);

/** Several values are the parameter repeated. */
export const repeatable = z
  .union([queryText.transform((one) => [one]), z.array(queryText).max(100)])
  .meta({ type: 'array', items: { type: 'string' }, anyOf: undefined });

/** How long to wait for a state, seconds. */
export const waitSeconds = wholeNumber({ max: 300 });
