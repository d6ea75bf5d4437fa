import { z } from 'zod';
import { parseDurationMs } from '../core/duration.ts';
import { Secret } from '../core/secret.ts';
import type { SettingKind } from './setting.ts';

/**
 * The kinds of values that a variable may have. Each reads text strictly: nothing is coerced, and what cannot be read is
 * refused with a rule that fits behind the variable's name ("must be …").
 */
function kind<Value>(parse: (text: string) => Value | undefined, rule: string): SettingKind<Value> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: rule });
    return z.NEVER;
  });
}

export function wholeNumber({ min, max }: { min: number; max: number }): SettingKind<number> {
  return kind(
    (text) => within(/^-?\d+$/.test(text) ? Number(text) : undefined, min, max),
    `must be a whole number from ${min} to ${max}`,
  );
}

export function decimalNumber({ min, max }: { min: number; max: number }): SettingKind<number> {
  return kind(
    (text) => within(/^-?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : undefined, min, max),
    `must be a number from ${min} to ${max}`,
  );
}

const GO_DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

/** Milliseconds out of `90s`, `1h30m`, `7d`. The unit is demanded: a bare number means seconds to one reader and minutes to the next. */
export function duration({ min, max }: { min: string; max: string }): SettingKind<number> {
  const bounds = { min: parseDurationMs(min) ?? 0, max: parseDurationMs(max) ?? Number.MAX_SAFE_INTEGER };
  return kind(
    (text) => within(GO_DURATION.test(text) ? parseDurationMs(text) : undefined, bounds.min, bounds.max),
    `must be a duration with its unit (ms, s, m, h or d) from ${min} to ${max}`,
  );
}

const YES = ['true', '1', 'yes', 'on'];
const NO = ['false', '0', 'no', 'off'];

/** Undefined for anything but the eight words that are understood, in any case. */
export function parseBoolean(text: string): boolean | undefined {
  const word = text.toLowerCase();
  if (YES.includes(word)) return true;
  return NO.includes(word) ? false : undefined;
}

export function boolean(): SettingKind<boolean> {
  return kind(parseBoolean, 'must be true or false (1, yes, on and 0, no, off mean the same)');
}

/** One of a few words, in any case. */
export function choice<const Word extends string>(words: readonly Word[]): SettingKind<Word> {
  return kind((text) => words.find((word) => word === text.toLowerCase()), `must be ${words.join(' or ')}`);
}

export function plainText({ pattern, rule }: { pattern: RegExp; rule: string }): SettingKind<string> {
  return kind((text) => (pattern.test(text) ? text : undefined), rule);
}

/** A path as the operating system takes it; relative ones count from the working directory. */
export function filePath(): SettingKind<string> {
  return kind((text) => (text.includes('\0') ? undefined : text), 'must be a path');
}

/** A text that must not be printed. */
export function secretText({ pattern, rule }: { pattern: RegExp; rule: string }): SettingKind<Secret<string>> {
  return kind((text) => (pattern.test(text) ? new Secret(text) : undefined), rule);
}

/** A value with a parser of its own, which either gives a value or says what must be. */
export function parsed<Value>(
  parse: (
    text: string,
  ) => { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly rules: readonly string[] },
): SettingKind<Value> {
  return z.string().transform((text, context) => {
    const result = parse(text);
    if (result.ok) return result.value;
    for (const message of result.rules) context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}
