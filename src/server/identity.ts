import type { Envelope } from '../core/envelope.ts';
import type { Random } from '../core/random.ts';
import { RESTORE } from '../db/foreign-database.ts';
import type { InstallationRepository } from '../db/installation-repository.ts';
import { DEPLOYMENT_ID_RULE, parseDeploymentId, type DeploymentId } from '../provider/ownership-tag.ts';
import { StartRefused } from './start-refused.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const LENGTH = 8;

/** Where the text stands that only the right key opens. */
export const KEY_CANARY = 'key_canary';

/**
 * Which installation this is: generated at the first start, or as configured, and stored in the database for good. Instances that were
 * tagged under another id would be nobody's, so a different one in the environment is refused (REL-B9).
 */
export async function settleDeploymentId(
  installation: InstallationRepository,
  { configured, random }: { readonly configured: DeploymentId | undefined; readonly random: Pick<Random, 'bytes'> },
): Promise<DeploymentId> {
  const stored = parseDeploymentId(await installation.keepFirst('deployment_id', configured ?? generate(random)));
  if (stored === undefined)
    throw new StartRefused(`the database holds a deployment id that is none (${DEPLOYMENT_ID_RULE}); restore a backup`);
  if (configured !== undefined && configured !== stored)
    throw new StartRefused(
      `DEPLOYMENT_ID is ${configured}, but this database belongs to deployment ${stored}: instances rented under ${stored} would be lost. ` +
        `Set DEPLOYMENT_ID=${stored}, leave it out, or use another database`,
    );
  return stored;
}

function generate(random: Pick<Random, 'bytes'>): string {
  // 252 is the largest multiple of 36 below 256: every character is as likely as the next
  const usable = [...random.bytes(LENGTH * 8)].filter((byte) => byte < 252);
  return usable
    .slice(0, LENGTH)
    .map((byte) => ALPHABET[byte % ALPHABET.length])
    .join('');
}

/** Whether the key-encryption key is the one that sealed what is stored; refused before anything is sealed under another. */
export async function checkSecretKey(installation: InstallationRepository, envelope: Envelope, path: string): Promise<void> {
  const checked = envelope.checkCanary(await installation.keepFirst(KEY_CANARY, envelope.makeCanary()));
  if (checked.ok) return;
  throw new StartRefused(
    `the key in ${path} is not the one that sealed the secrets of this database. Put the right file back (it is part of every backup), ` +
      `or name it with SECRET_KEY_FILE. If it is the right one, the database is damaged: ${RESTORE}`,
  );
}
