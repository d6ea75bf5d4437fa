import { expect, it } from 'vitest';
import { createEnvelope } from '../core/envelope.ts';
import { seededRandom } from '../core/random.ts';
import { Secret } from '../core/secret.ts';
import { createInstallationRepository } from '../db/installation-repository.ts';
import { parseDeploymentId } from '../provider/ownership-tag.ts';
import { describeEachStore } from '../../test/support/stores.ts';
import { checkSecretKey, settleDeploymentId } from './identity.ts';

const named = (text: string) => {
  const id = parseDeploymentId(text);
  if (!id) throw new Error(`${text} is no deployment id`);
  return id;
};
const envelopeOf = (byte: number) => createEnvelope(new Secret(new Uint8Array(32).fill(byte)));

describeEachStore('identity', (open) => {
  it('makes a deployment id once and keeps it', async () => {
    const installation = createInstallationRepository(await open());

    const first = await settleDeploymentId(installation, { configured: undefined, random: seededRandom(1) });
    const second = await settleDeploymentId(installation, { configured: undefined, random: seededRandom(2) });

    expect(first).toMatch(/^[a-z0-9]{8}$/);
    expect(second).toBe(first);
  });

  it('REL-B9: takes the configured id at the first start, and refuses another one later by name', async () => {
    const installation = createInstallationRepository(await open());
    const random = seededRandom(1);
    await settleDeploymentId(installation, { configured: named('team1'), random });

    expect(await settleDeploymentId(installation, { configured: undefined, random })).toBe('team1');
    await expect(settleDeploymentId(installation, { configured: named('team12'), random })).rejects.toThrow(
      /DEPLOYMENT_ID is team12, but this database belongs to deployment team1/,
    );
  });

  it('refuses to start with another key than the one that sealed what is stored', async () => {
    const installation = createInstallationRepository(await open());
    await checkSecretKey(installation, envelopeOf(1), '/data/secret.key');

    await expect(checkSecretKey(installation, envelopeOf(1), '/data/secret.key')).resolves.toBeUndefined();
    await expect(checkSecretKey(installation, envelopeOf(2), '/data/secret.key')).rejects.toThrow(
      /key in \/data\/secret.key is not the one/,
    );
  });

  it('proves that the database takes writes', async () => {
    const store = await open();
    const installation = createInstallationRepository(store);
    await installation.probeWrite();
    await installation.probeWrite();

    expect(await installation.read('write_probe')).toBe('2');
    await store.close();
    await expect(installation.probeWrite()).rejects.toThrow();
  });
});
