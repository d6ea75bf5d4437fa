import { BrokerError } from '../../core/errors.ts';
import { plainLine } from '../../core/text.ts';
import type { FoundTemplate } from '../../offers/template-catalogue.ts';
import type { HttpDeps } from '../http-deps.ts';

/** The template, or the 404 that names it. */
export async function findTemplate(templates: HttpDeps['templates'], hashId: string): Promise<FoundTemplate> {
  const found = await templates.find(hashId.trim());
  if (found) return found;
  const shown = plainLine(hashId, 200);
  throw new BrokerError({
    code: 'not_found',
    message: `template not found: ${shown}; GET /api/v1/templates lists those that are recommended`,
    details: { template_hash_id: shown },
  });
}
