import type { EpochMs } from '../../src/core/clock.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { InstanceRecord, Phase } from './instance-record.ts';
import type { Load } from './simulated-machine.ts';
import { LOGIN_USER, SSH_HOST } from './ssh-server.ts';

interface Seen {
  readonly phase: Phase;
  readonly load: Load;
  readonly now: EpochMs;
}

/** What a caller may see of an instance; undefined while, or since, the market does not show it. */
export function viewOf(record: InstanceRecord, { phase, load, now }: Seen): Instance | undefined {
  const common = {
    id: instanceId(record.id),
    tag: record.tag,
    priceMicrosPerHour: record.priceMicrosPerHour,
    createdAt: record.createdAt,
  };
  switch (phase) {
    case 'unseen':
    case 'gone':
      return undefined;
    case 'failed':
      return { ...common, state: 'failed', reason: record.failure ?? 'the simulated instance failed' };
    case 'running': {
      const { hostKey, port } = record;
      if (hostKey === undefined || port === undefined) return { ...common, state: 'starting' };
      const ssh = { user: LOGIN_USER, hostKey: hostKey.publicKey, routes: [{ host: SSH_HOST, port }] };
      return { ...common, state: 'running', ssh, utilisation: { ...load, sampledAt: now } };
    }
    case 'paused': {
      const { priceMicrosPerHour: _, ...unpriced } = common; // its disk alone is billed, by the rule of the provider
      return { ...unpriced, state: phase };
    }
    case 'starting':
    case 'stopping':
      return { ...common, state: phase };
  }
}
