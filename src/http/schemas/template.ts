import { z } from 'zod';
import type { ProviderTemplates, FoundTemplate } from '../../offers/template-catalogue.ts';
import type { Template } from '../../provider/template.ts';
import { present } from '../present.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { queryText, repeatable } from './query-values.ts';
import { time } from './wire-values.ts';

/** Existing clients read a time here, and this is what theirs writes for none. */
const NO_TIME = '0001-01-01T00:00:00Z';

export const TemplateBody = z
  .object({
    id: z.int().describe("The provider's number of it."),
    hash_id: z.string().describe('What POST /api/v1/sessions takes as template_hash_id.'),
    name: z.string().describe('By whoever made it, as are all texts here: show them, do not render them.'),
    image: z.string().describe('The container image, without its tag.'),
    tag: z.string().optional().describe("The image's tag."),
    env: z.string().optional().describe('Variables and ports, as flags of docker.'),
    onstart: z.string().optional().describe('Run at boot, unless the session has an on_start_cmd of its own.'),
    runtype: z.string().optional().describe('How the provider would start it by itself; a session always has SSH.'),
    args_str: z.string().optional().describe("Arguments of the image's entrypoint."),
    use_ssh: z.boolean(),
    ssh_direct: z.boolean(),
    recommended: z.boolean().describe('By the provider.'),
    recommended_disk_space: z.int().optional().describe('GB at least; what a session gets that names no disk_gb.'),
    extra_filters: z.string().optional().describe("What it asks of a machine, in the provider's words: JSON as text."),
    creator_id: z.int().optional(),
    created_at: time.describe(`${NO_TIME} when that is not known.`),
    count_created: z.int().optional().describe('How often it was used.'),
    provider: z.string(),
    observed_at: time.describe('When the provider was asked: the answer may come from memory.'),
  })
  .meta({ id: 'Template', description: "A provider's own recipe for an instance." });

export type TemplateBody = z.infer<typeof TemplateBody>;

const TemplateStatusBody = z
  .object({
    id: z.string(),
    observed_at: time.optional().describe('When it was asked; absent when it has not answered.'),
    templates: z.int().describe('How many it recommends, before filters.'),
    dropped: z.int().describe('Rows that could not be read.'),
    error: z.object({ kind: z.string(), message: z.string() }).optional().describe('Why there is no answer.'),
  })
  .meta({ id: 'TemplateProviderStatus' });

export const TemplatesBody = z.object({
  templates: z.array(TemplateBody),
  count: z.int(),
  providers: z.array(TemplateStatusBody).describe('How each provider that has templates stands.'),
});

export const CompatibleTemplatesBody = z.object({
  compatible_templates: z.array(
    z
      .object({
        hash_id: z.string(),
        name: z.string(),
        image: z.string().optional(),
        recommended_disk_space: z.int().optional().describe('GB at least.'),
      })
      .meta({ id: 'CompatibleTemplate' }),
  ),
  count: z.int(),
  offer_id: z.string(),
  gpu_type: z.string().optional().describe('Of the offer, where its provider has templates.'),
  vram_gb: z.int().optional().describe("GB of each GPU, where the offer's provider has templates."),
  provider: z.string().optional().describe("Where the offer's provider has no templates."),
  note: z.string().optional().describe('Why there are none.'),
});

/** As the programs of existing clients write it. */
const TRUE = ['true', 'True', 'TRUE', 't', 'T', '1'];
const FALSE = ['false', 'False', 'FALSE', 'f', 'F', '0'];
const looseYesOrNo = z
  .enum([...TRUE, ...FALSE], 'must be true or false')
  .transform((text) => TRUE.includes(text))
  .meta({ type: 'boolean', enum: undefined });

export const TemplatesQuery = z.strictObject({
  recommended: looseYesOrNo.optional().describe('Only recommended ones are listed; false lists none of them.'),
  use_ssh: looseYesOrNo.optional(),
  name: queryText.optional().describe('A part of the name, in any case.'),
  image: queryText.optional().describe('A part of the image, in any case.'),
  provider: repeatable.optional().describe('Only of these providers.'),
});

export type TemplatesQuery = z.infer<typeof TemplatesQuery>;

export function fitsQuery(
  template: Template,
  { recommended, use_ssh: usesSsh, name, image, provider }: TemplatesQuery,
): boolean {
  if (recommended !== undefined && template.recommended !== recommended) return false;
  if (usesSsh !== undefined && template.usesSsh !== usesSsh) return false;
  if (provider && !provider.includes(template.provider)) return false;
  return holds(template.name, name) && holds(template.image, image);
}

function holds(text: string, part = ''): boolean {
  return text.toLowerCase().includes(part.toLowerCase());
}

export function templateToWire({ template, observedAt }: FoundTemplate): TemplateBody {
  return present({
    id: template.id,
    hash_id: template.hashId,
    name: template.name,
    image: template.image,
    tag: template.imageTag,
    env: template.dockerFlags,
    onstart: template.onStart,
    runtype: template.runType,
    args_str: template.entrypointArguments,
    use_ssh: template.usesSsh,
    ssh_direct: template.usesDirectSsh,
    recommended: template.recommended,
    recommended_disk_space: template.recommendedDiskGb,
    extra_filters: template.statedFilters,
    creator_id: template.creatorId || undefined,
    created_at: wireTimeIfAny(template.createdAt) ?? NO_TIME,
    count_created: template.createdCount || undefined,
    provider: template.provider,
    observed_at: wireTime(observedAt),
  });
}

export function templateStatusToWire({ provider, observedAt, templates, dropped, error }: ProviderTemplates) {
  return present({
    id: provider,
    observed_at: wireTimeIfAny(observedAt),
    templates: templates.length,
    dropped,
    error: error && { ...error },
  }) satisfies z.infer<typeof TemplateStatusBody>;
}
