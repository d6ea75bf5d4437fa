import type { Clock } from '../../src/core/clock.ts';
import { MINUTE_MS } from '../../src/core/duration.ts';
import type { SshRoute } from '../../src/provider/instance.ts';
import type { ToldInstance } from './reading.ts';
import { PortForward, toNumber } from './schema.ts';

const SSH_PORT = 22;
/** How long a running instance with an address may be without the port that was asked for. Later it does not come any more. */
const LONGEST_WAIT_MS = 3 * MINUTE_MS;
/** A new instance may be missing from their list for so long at most. */
const LONGEST_LIST_LAG_MS = 15 * MINUTE_MS;

export type WayIn = SshRoute | 'not yet' | 'never';

/**
 * How to get into an instance, from what they tell and from what is remembered. Their record does not say whether an address is the
 * instance's own or its host's, and the rows of their list say nothing of ports at all. So it is remembered which instances of this process
 * wait for a port of their host, since when it is missing, and the last way that was told of each instance. An instance of which nothing is
 * remembered is taken to have an address of its own.
 */
export interface WaysIn {
  /** It was made without an address of its own. */
  expectForward(id: string): void;
  /** For a running instance; `row` is one of a list. */
  tell(record: ToldInstance, from: 'record' | 'row'): WayIn;
  forget(id: string): void;
  /** Drops what is remembered of instances that a complete list does not name, but for new ones. */
  keepOnly(ids: ReadonlySet<string>): void;
}

interface Memory {
  readonly sinceMs: number;
  readonly needsForward: boolean;
  readonly missingSinceMs?: number;
  readonly last?: SshRoute;
}

export function createWaysIn({ clock }: { readonly clock: Pick<Clock, 'monotonicMs'> }): WaysIn {
  const memories = new Map<string, Memory>();
  const memoryOf = (id: string): Memory => memories.get(id) ?? { sinceMs: clock.monotonicMs(), needsForward: false };

  function found(id: string, last: SshRoute): SshRoute {
    const { sinceMs, needsForward } = memoryOf(id);
    memories.set(id, { sinceMs, needsForward, last });
    return last;
  }

  function missing(id: string): 'not yet' | 'never' {
    const { missingSinceMs = clock.monotonicMs(), ...memory } = memoryOf(id);
    memories.set(id, { ...memory, missingSinceMs });
    return clock.monotonicMs() - missingSinceMs >= LONGEST_WAIT_MS ? 'never' : 'not yet';
  }

  return {
    expectForward: (id) => void memories.set(id, { sinceMs: clock.monotonicMs(), needsForward: true }),
    tell(record, from) {
      const { id } = record;
      const host = hostOf(record);
      if (host === undefined) return 'not yet';
      const port = forwardedPort(record.portForwards) ?? forwardedPort(record.port_forwards);
      if (port !== undefined) return found(id, { host, port });
      const { needsForward, last } = memoryOf(id);
      // what was told once stands: a record that does without it for a while must not end a session that runs
      if (last?.host === host) return last;
      if (from === 'row') return 'not yet';
      return needsForward ? missing(id) : found(id, { host, port: SSH_PORT });
    },
    forget: (id) => void memories.delete(id),
    keepOnly(ids) {
      const oldMs = clock.monotonicMs() - LONGEST_LIST_LAG_MS;
      for (const [id, { sinceMs }] of memories) if (!ids.has(id) && sinceMs < oldMs) memories.delete(id);
    },
  };
}

/** They say that it runs before it has an address. */
function hostOf({ ipAddress, ip_address: ipSnake }: ToldInstance): string | undefined {
  const host = (ipAddress ?? ipSnake ?? '').trim();
  return /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$|^[0-9A-Fa-f:]{2,45}$/.test(host) ? host : undefined;
}

/** The port that came, which need not be the one that was wished for: in a list of pairs or, as older servers have it, in an object of external to internal ports. */
function forwardedPort(told: unknown): number | undefined {
  if (Array.isArray(told)) {
    for (const each of told.slice(0, 1_000)) {
      const pair = PortForward.safeParse(each);
      if (!pair.success || (pair.data.internal_port ?? pair.data.internalPort) !== SSH_PORT) continue;
      const external = pair.data.external_port ?? pair.data.externalPort;
      if (isPort(external)) return external;
    }
    return undefined;
  }
  if (typeof told !== 'object' || told === null) return undefined;
  const pair = Object.entries(told).find(
    ([external, internal]) => toNumber(internal) === SSH_PORT && isPort(toNumber(external)),
  );
  return pair && toNumber(pair[0]);
}

function isPort(port: number | undefined): port is number {
  return port !== undefined && Number.isInteger(port) && port >= 1 && port <= 65_535;
}
