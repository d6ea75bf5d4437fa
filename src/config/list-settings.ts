import type { z } from 'zod';
import { Settings } from './schema.ts';
import { settingInfo } from './setting.ts';
import type { SettingInfo, SettingKind } from './setting.ts';

/** A variable of the schema with the place of its value in the configuration. */
export interface ListedSetting extends SettingInfo {
  readonly section: string;
  readonly field: string;
  /** Takes undefined for a variable that is not set. */
  readonly schema: z.ZodPrefault<SettingKind<unknown>> | z.ZodOptional<SettingKind<unknown>>;
}

export interface SettingsSection {
  readonly title: string;
  readonly settings: readonly ListedSetting[];
}

/** Every variable that the schema knows, in the order and under the headings of the schema. */
export function listSettings(): readonly SettingsSection[] {
  return Object.entries(Settings.shape).map(([section, group]) => ({
    title: group.description ?? section,
    settings: Object.entries<ListedSetting['schema']>(group.shape).map(([field, schema]) => {
      const info = settingInfo.get(schema);
      if (info === undefined) throw new Error(`setting ${section}.${field} names no variable: make it with setting()`);
      return { ...info, section, field, schema };
    }),
  }));
}
