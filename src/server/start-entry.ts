import { createHash } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { ConfiguredProvider } from '../config/provider-blocks.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import type { AuditEntry } from '../db/audit-chain.ts';
import type { Store } from '../db/store.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';

interface Start {
  readonly config: Config;
  readonly configured: readonly Pick<ConfiguredProvider, 'id' | 'environment'>[];
  readonly version: string;
  readonly deploymentId: DeploymentId;
  readonly dialect: Store['dialect'];
}

/** That the broker starts, as what, and with which settings: two starts of one digest have the same, but for their secrets. */
export function startEntry({ config, configured, version, deploymentId, dialect }: Start): AuditEntry {
  const settings = { config, providers: configured.map(({ id, environment }) => ({ id, environment })) };
  const withoutSecrets: unknown = JSON.parse(JSON.stringify(settings)); // a secret says that it is one, and nothing else
  return {
    actor: 'operator',
    kind: 'broker.started',
    data: {
      version,
      deployment_id: deploymentId,
      dialect,
      providers: configured.map(({ id }) => id),
      config_sha256: createHash('sha256').update(canonicalJson(withoutSecrets)).digest('hex'),
    },
  };
}
