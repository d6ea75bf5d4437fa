import type { DeploymentId } from '../provider/ownership-tag.ts';
import type { TaggedInstance } from './instance-survey.ts';

export interface ChoiceRequest {
  /** Instance ids, bare or as `provider/id`, or tags. */
  readonly ids: readonly string[];
  readonly all: boolean;
  readonly deployment: DeploymentId;
}

export type Choice =
  | { readonly ok: true; readonly chosen: readonly TaggedInstance[] }
  /** Every name that means nothing, two things, or somebody else's. */
  | { readonly ok: false; readonly faults: readonly string[] };

/** What a person named, among what bears the tag of exactly this deployment (RULE-R10). One name that is at fault refuses all. */
export function chooseInstances(tagged: readonly TaggedInstance[], { ids, all, deployment }: ChoiceRequest): Choice {
  if (all === ids.length > 0)
    return { ok: false, faults: ['name instances, or say --all for every one of the deployment; not both, and not neither'] };
  if (all) return { ok: true, chosen: tagged.filter((found) => found.deployment === deployment) };
  const faults: string[] = [];
  const chosen = new Set<TaggedInstance>();
  for (const id of ids) {
    const [match, ...others] = tagged.filter((found) => isNamed(found, id));
    if (match === undefined)
      faults.push(`${id}: no instance with a tag of Berth is called so; one without a tag is never touched`);
    else if (others.length > 0) faults.push(`${id}: several instances are called so; name it as provider/id`);
    else if (match.deployment !== deployment)
      faults.push(`${id}: belongs to deployment ${match.deployment}, not ${deployment}`);
    else chosen.add(match);
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, chosen: [...chosen] };
}

function isNamed({ provider, instance, tag }: TaggedInstance, id: string): boolean {
  return instance.id === id || `${provider}/${instance.id}` === id || tag === id;
}
