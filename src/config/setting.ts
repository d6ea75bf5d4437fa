import { z } from 'zod';

/** What a person needs to know of a variable; the reference, `.env.example` and the lines about faults are made from it. */
export interface SettingInfo {
  readonly variable: string;
  /** Other names of the same variable, which existing installations use. */
  readonly aliases?: readonly string[];
  /** What it is for, with its unit; one or two sentences. */
  readonly description: string;
  /** As one would write it; absent when unset means something of its own. */
  readonly default?: string;
  /** What to write instead of a value that was refused. */
  readonly example: string;
  /** Its value is never printed. */
  readonly isSecret?: boolean;
}

/** Which variable stands behind a field of the schema. */
export const settingInfo = z.registry<SettingInfo>();

/** A field that reads a text from the environment. */
export type SettingKind<Value> = z.ZodType<Value, string>;

/** A variable with a default: the default goes through the same parser as what people write. */
export function setting<Value>(
  kind: SettingKind<Value>,
  info: SettingInfo & { readonly default: string },
): z.ZodPrefault<SettingKind<Value>> {
  return kind.prefault(info.default).describe(info.description).register(settingInfo, info);
}

/** A variable whose absence means something of its own, which its description tells. */
export function optionalSetting<Value>(kind: SettingKind<Value>, info: SettingInfo): z.ZodOptional<SettingKind<Value>> {
  return kind.optional().describe(info.description).register(settingInfo, info);
}

/** A group of variables, with the heading that it has in the reference. */
export function section<Shape extends z.core.$ZodShape>(title: string, shape: Shape) {
  return z.strictObject(shape).describe(title);
}
