import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { ok, queryJson } from './context.ts';
import type { Context } from './context.ts';

export interface Template {
  readonly id: number;
  readonly hash_id: string;
  readonly name: string;
  readonly image: string;
  readonly tag: string;
  /** Docker's flags as text, unlike in a create. */
  readonly env: string;
  readonly onstart: string;
  readonly runtype: string;
  /** JSON as text: what a machine must have. */
  readonly extra_filters: string;
  readonly recommended: boolean;
  readonly recommended_disk_space: number;
}

const TEMPLATES: readonly Template[] = [
  template(90_211, '0f3c5a7be1d94c0a8b7d6e5f4a3b2c1d', 'Ollama small', 'ollama/ollama', 12.4, true),
  template(90_212, '1a2b3c4d5e6f708192a3b4c5d6e7f809', 'PyTorch', 'pytorch/pytorch', 12.1, true),
  template(90_300, 'ffee00112233445566778899aabbccdd', 'vLLM', 'vllm/vllm-openai', 12.8, false),
];

function template(id: number, hash: string, name: string, image: string, cuda: number, recommended: boolean): Template {
  return {
    id,
    hash_id: hash,
    name,
    image,
    tag: 'latest',
    env: '-e OLLAMA_HOST=0.0.0.0 -p 11434:11434',
    onstart: 'ollama serve &',
    runtype: 'ssh',
    extra_filters: JSON.stringify({ cuda_max_good: { gte: cuda } }),
    recommended,
    recommended_disk_space: 32,
  };
}

export function findTemplate(hash: string): Template | undefined {
  return TEMPLATES.find(({ hash_id: own }) => own === hash);
}

const Filters = z.record(z.string(), z.object({ eq: z.unknown() }));

export function listTemplates(context: Context): Reply {
  const filters = Filters.safeParse(queryJson(context, 'select_filters') ?? {});
  if (!filters.success)
    return { status: 400, json: { error: 'invalid_request', msg: 'Error in query parameters: select_filters' } };
  const rows = TEMPLATES.map((each) => ({
    ...each,
    args_str: '',
    use_ssh: true,
    ssh_direct: true,
    creator_id: 62,
    created_at: 1_771_000_000,
    count_created: 1_402,
  }));
  const found = rows.filter((row) => Object.entries(filters.data).every(([field, { eq }]) => new Map(Object.entries(row)).get(field) === eq)); // prettier-ignore
  return ok({ success: true, templates_found: found.length, templates: found });
}
