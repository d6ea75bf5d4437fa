import type { Brand } from '../core/brand.ts';
import type { SessionId } from '../core/ids.ts';

/**
 * `berth-<deployment>-<session suffix>-<attempt>`: which installation owns an instance, for which session, by which attempt.
 * Only `[a-z0-9-]` and at most 48 characters, so that it fits every vendor's label or name, and a container's name, unchanged.
 * It travels in the call that creates, as label or name, as the comment of the probe key, and as the variable BERTH_TAG.
 */
export type OwnershipTag = Brand<'OwnershipTag'>;

/** Which Berth installation: 4–12 of `[a-z0-9]`, compared exactly, never by prefix. */
export type DeploymentId = Brand<'DeploymentId'>;

const DEPLOYMENT = /^[a-z0-9]{4,12}$/;
const TAG = /^berth-([a-z0-9]{4,12})-([0-7][0-9a-hjkmnp-tv-z]{25})-([1-9][0-9]{0,2})$/;

export const DEPLOYMENT_ID_RULE = '4 to 12 characters of a-z and 0-9';

export function parseDeploymentId(text: string): DeploymentId | undefined {
  return DEPLOYMENT.test(text) ? (text as DeploymentId) : undefined; // the pattern is what the brand means
}

export interface TagParts {
  readonly deployment: DeploymentId;
  readonly sessionId: SessionId;
  /** 1 for a session's first attempt. */
  readonly ordinal: number;
}

export function ownershipTag({ deployment, sessionId, ordinal }: TagParts): OwnershipTag {
  const tag = `berth-${deployment}-${sessionId.slice('ses_'.length)}-${ordinal}`;
  if (!TAG.test(tag)) throw new RangeError(`not an ownership tag: ${tag}`);
  return tag as OwnershipTag; // just checked
}

/** Undefined for anything that is not, to the letter, a tag of some Berth installation. */
export function parseOwnershipTag(text: string): (TagParts & { readonly tag: OwnershipTag }) | undefined {
  const [, deployment, suffix, ordinal] = TAG.exec(text) ?? [];
  if (deployment === undefined || suffix === undefined || ordinal === undefined) return undefined;
  // The pattern has just proven what the brands mean.
  return {
    tag: text as OwnershipTag,
    deployment: deployment as DeploymentId,
    sessionId: `ses_${suffix}`,
    ordinal: Number(ordinal),
  };
}
