import { parse as parseDotenv } from 'dotenv';
import { describeError } from '../core/errors.ts';
import type { ProviderModule } from '../provider/provider-module.ts';
import { parseApiKeyList } from './api-key-list.ts';
import type { ConfiguredApiKey } from './api-key-list.ts';
import type { Config } from './config.ts';
import { faultsBetweenSettings } from './config-rules.ts';
import { faultLine } from './fault-line.ts';
import { listSettings } from './list-settings.ts';
import type { ListedSetting } from './list-settings.ts';
import { contradictionLine, enabledVariable, namesInBlock, readProviderBlocks } from './provider-blocks.ts';
import type { ConfiguredProvider } from './provider-blocks.ts';
import { readTextFile } from './read-environment.ts';
import { Settings } from './schema.ts';
import { warnOfUnknownNames } from './unknown-names.ts';
import { variableSources } from './variables.ts';
import type { Variables, VariableSources } from './variables.ts';

export type LoadedConfig =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly providers: readonly ConfiguredProvider[];
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly faults: readonly string[]; readonly warnings: readonly string[] };

interface LoadConfigInput {
  /** What the process was started with. It beats `.env`. */
  readonly environment: Variables;
  /** The text of `.env`, if there is one. */
  readonly dotenvText?: string | undefined;
  readonly modules: readonly ProviderModule[];
  /** Reads a file that a setting names; throws when it cannot. */
  readonly readFile?: (path: string) => string;
}

/**
 * Turns the environment into settings, or into every fault at once: a person mends them in one go, not one start each.
 * Values of secrets stand in no fault and in no warning.
 */
export function loadConfig({ environment, dotenvText, modules, readFile = readTextFile }: LoadConfigInput): LoadedConfig {
  const dotenv = dotenvText === undefined ? {} : parseDotenv(dotenvText);
  const sources = variableSources([environment, dotenv]);
  const settings = listSettings().flatMap((section) => section.settings);

  const { values, raw, faults } = readSettings(settings, sources);
  const keys = readApiKeys(values.access, readFile, faults);
  faults.push(...faultsBetweenSettings({ ...values, access: { ...values.access, keys } }));
  const blocks = readProviderBlocks(modules, sources);
  faults.push(...blocks.faults);

  const warnings = [
    ...blocks.warnings,
    ...warnOfUnknownNames({ environment, dotenv, known: knownNames(settings, modules), modules }),
  ];
  if (faults.length > 0 || keys === undefined) return { ok: false, faults, warnings };
  const { access, ...rest } = Settings.parse(raw);
  return { ok: true, config: { ...rest, access: { auth: access.auth, keys } }, providers: blocks.providers, warnings };
}

/** Every name that something reads. */
function knownNames(settings: readonly ListedSetting[], modules: readonly ProviderModule[]): ReadonlySet<string> {
  return new Set([
    ...settings.flatMap(namesOf),
    ...modules.flatMap((module) => [
      enabledVariable(module),
      ...Object.keys(module.environment.shape).flatMap((variable) => namesInBlock(module, variable)),
    ]),
  ]);
}

function namesOf({ variable, aliases = [] }: Pick<ListedSetting, 'variable' | 'aliases'>): readonly string[] {
  return [variable, ...aliases];
}

type PartialSettings = { readonly [Section in keyof Settings]?: Partial<Settings[Section]> };

/** Each setting by itself, so that one fault does not hide the next. A setting that is at fault is missing from the values. */
function readSettings(settings: readonly ListedSetting[], sources: VariableSources) {
  const values: Record<string, Record<string, unknown>> = {};
  const raw: Record<string, Record<string, string>> = {};
  const faults: string[] = [];
  for (const setting of settings) {
    const found = sources.find(namesOf(setting));
    const contradiction = sources.contradiction(namesOf(setting));
    if (contradiction) faults.push(contradictionLine(contradiction));
    const rawSection = (raw[setting.section] ??= {});
    if (found) rawSection[setting.field] = found.text;
    const result = setting.schema.safeParse(found?.text);
    if (result.success) {
      (values[setting.section] ??= {})[setting.field] = result.data;
      continue;
    }
    const { name, text } = found ?? { name: setting.variable, text: undefined };
    for (const { message } of result.error.issues) {
      faults.push(
        faultLine({ variable: name, text: setting.isSecret ? undefined : text, rule: message, example: setting.example }),
      );
    }
  }
  // Holds because each value came out of the schema of its own field.
  return { values: values as PartialSettings, raw, faults };
}

/** The keys of API_KEYS and of the file that API_KEYS_FILE names; undefined when either is at fault. */
function readApiKeys(
  access: PartialSettings['access'],
  readFile: (path: string) => string,
  faults: string[],
): readonly ConfiguredApiKey[] | undefined {
  if (access === undefined || !Object.hasOwn(access, 'keys') || !Object.hasOwn(access, 'keysFile')) return undefined;
  const inline = access.keys ?? [];
  if (access.keysFile === undefined) return inline;
  const refuse = (rule: string) => {
    faults.push(faultLine({ variable: 'API_KEYS_FILE', text: access.keysFile, rule, example: '/run/secrets/api-keys' }));
    return undefined;
  };
  let text: string;
  try {
    text = readFile(access.keysFile);
  } catch (error) {
    return refuse(`must be a file that can be read (${describeError(error)})`);
  }
  const list = parseApiKeyList(text, inline);
  if (list.ok) return list.value;
  for (const rule of list.rules) refuse(rule);
  return undefined;
}
