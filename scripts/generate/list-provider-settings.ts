import { z } from 'zod';
import type { ProviderModule } from '../../src/provider/provider-module.ts';
import { enabledVariable, metaOf } from '../../src/config/provider-blocks.ts';

/** A variable of a provider's block, as far as its schema tells. */
export interface ProviderSetting {
  readonly variable: string;
  readonly description: string;
  readonly default?: string;
  readonly example?: string;
}

/** The variables of one provider, its switch first. */
export function listProviderSettings(module: ProviderModule): readonly ProviderSetting[] {
  const own = Object.entries(module.environment.shape).map(([variable, schema]) => {
    const { example } = metaOf(module, variable);
    const fallback = defaultOf(schema);
    return {
      variable,
      description: schema.description ?? '',
      ...(fallback !== undefined && { default: fallback }),
      ...(typeof example === 'string' && { example }),
    };
  });
  const variable = enabledVariable(module);
  if (own.some((setting) => setting.variable === variable)) return own;
  return [
    {
      variable,
      description: `false turns ${module.id} off, whatever else is set. Unset: on when what it needs is set.`,
    },
    ...own,
  ];
}

/** The text that stands in for an unset variable: defaults come first in a schema, and what transforms them lies round it. */
function defaultOf(schema: z.core.$ZodType): string | undefined {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    const { defaultValue } = schema.def;
    return typeof defaultValue === 'string' && defaultValue !== '' ? defaultValue : undefined;
  }
  if (schema instanceof z.ZodPipe) return defaultOf(schema.def.in);
  return schema instanceof z.ZodOptional ? defaultOf(schema.def.innerType) : undefined;
}
