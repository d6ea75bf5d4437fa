import type { z } from 'zod';
import type { Provider } from '../provider/provider.ts';
import type { ProviderDeps, ProviderModule } from '../provider/provider-module.ts';
import { faultLine, looksSecret } from './fault-line.ts';
import { parseBoolean } from './setting-kinds.ts';
import type { VariableSources } from './variables.ts';

/** A provider that the configuration asks for, with its block of settings inside. */
export interface ConfiguredProvider {
  readonly id: string;
  /** The block as its schema parsed it, for what the composition root makes of it beside the provider. */
  readonly environment: Readonly<Record<string, unknown>>;
  create(deps: ProviderDeps): Promise<Provider>;
}

export interface ProviderBlocks {
  /** Those that are on, in the order of the modules. */
  readonly providers: readonly ConfiguredProvider[];
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
}

/** The switch of a provider: false turns it off whatever else is set, and nothing of its block is looked at. */
export function enabledVariable(module: Pick<ProviderModule, 'id'>): string {
  return `PROVIDERS_${module.id.toUpperCase()}_ENABLED`;
}

/** `VASTAI_API_KEY` is also read as `PROVIDERS_VASTAI_API_KEY`. */
export function namesInBlock(module: Pick<ProviderModule, 'id'>, variable: string): readonly string[] {
  return variable.startsWith(`${module.id.toUpperCase()}_`) ? [variable, `PROVIDERS_${variable}`] : [variable];
}

type Switch = 'on' | 'off' | 'unset';

interface Block {
  readonly module: ProviderModule;
  readonly wanted: Switch;
  /** Undefined when the block is at fault or switched off. */
  readonly environment: z.infer<ProviderModule['environment']> | undefined;
}

/** Reads every provider's block and decides who is on. */
export function readProviderBlocks(modules: readonly ProviderModule[], sources: VariableSources): ProviderBlocks {
  const faults: string[] = [];
  const blocks = modules.map((module) => readBlock(module, sources, faults));
  const warnings: string[] = [];
  const isOn = decideWhoIsOn(blocks);
  const providers = blocks.flatMap(({ module, wanted, environment }) => {
    if (environment === undefined) return [];
    if (isOn(module)) {
      return [{ id: module.id, environment, create: (deps: ProviderDeps) => module.create(environment, deps) }];
    }
    if (wanted === 'on') {
      warnings.push(
        `${enabledVariable(module)}=true, but ${module.id} stays off: what it needs is not set (see its part of .env.example)`,
      );
    }
    return [];
  });
  return { providers, faults, warnings };
}

function readBlock(module: ProviderModule, sources: VariableSources, faults: string[]): Block {
  const wanted = readSwitch(module, sources, faults);
  if (wanted === 'off') return { module, wanted, environment: undefined };
  const raw: Record<string, string> = {};
  const shown: Record<string, { name: string; text?: string }> = {};
  for (const variable of Object.keys(module.environment.shape)) {
    const names = namesInBlock(module, variable);
    const found = sources.find(names);
    if (found === undefined) continue;
    const contradiction = sources.contradiction(names);
    if (contradiction) faults.push(contradictionLine(contradiction));
    raw[variable] = variable === enabledVariable(module) ? String(wanted === 'on') : found.text;
    shown[variable] = { name: found.name, ...(isSecretIn(module, variable) ? {} : { text: found.text }) };
  }
  const result = module.environment.safeParse(raw);
  if (result.success) return { module, wanted, environment: result.data };
  for (const issue of result.error.issues) {
    const variable = String(issue.path[0] ?? module.id);
    const { name, text } = shown[variable] ?? { name: variable };
    faults.push(
      faultLine({
        variable: name,
        text,
        rule: withoutSecrets(module, issue.message, raw),
        example: exampleIn(module, variable),
      }),
    );
  }
  return { module, wanted, environment: undefined };
}

function readSwitch(module: ProviderModule, sources: VariableSources, faults: string[]): Switch {
  const variable = enabledVariable(module);
  const found = sources.find([variable]);
  if (found === undefined) return 'unset';
  const value = parseBoolean(found.text);
  if (value === undefined)
    faults.push(faultLine({ variable, text: found.text, rule: 'must be true or false', example: 'true' }));
  return value === undefined ? 'unset' : value ? 'on' : 'off';
}

/**
 * A provider that is asked for whoever else is on comes first; then those that only fill an empty house are asked.
 * An explicit switch lets even those in beside others.
 */
function decideWhoIsOn(blocks: readonly Block[]): (module: ProviderModule) => boolean {
  const ready = blocks.flatMap(({ module, wanted, environment }) =>
    environment === undefined ? [] : [{ module, wanted, environment }],
  );
  const asked = new Set(
    ready
      .filter(({ module, wanted, environment }) => module.isOn(environment, { otherIsOn: wanted !== 'on' }))
      .map(({ module }) => module),
  );
  const fillers = ready.filter(({ module, environment }) => asked.size === 0 && module.isOn(environment, { otherIsOn: false }));
  for (const { module } of fillers) asked.add(module);
  return (module) => asked.has(module);
}

/** What a module says of a variable beyond its type: `.meta({ example, isSecret })`. */
export function metaOf(module: ProviderModule, variable: string): Readonly<Record<string, unknown>> {
  return module.environment.shape[variable]?.meta() ?? {};
}

function exampleIn(module: ProviderModule, variable: string): string | undefined {
  const { example } = metaOf(module, variable);
  return typeof example === 'string' ? example : undefined;
}

function isSecretIn(module: ProviderModule, variable: string): boolean {
  return metaOf(module, variable)['isSecret'] === true || looksSecret(variable);
}

/** A module's own message may quote what it was given. */
function withoutSecrets(module: ProviderModule, message: string, raw: Readonly<Record<string, string>>): string {
  let clean = message;
  for (const [variable, text] of Object.entries(raw)) {
    if (isSecretIn(module, variable)) clean = clean.replaceAll(text, '[redacted]');
  }
  return clean;
}

export function contradictionLine([one, other]: readonly [string, string]): string {
  return `${one} and ${other}: two names of the same setting that say different things. Keep one of them`;
}
