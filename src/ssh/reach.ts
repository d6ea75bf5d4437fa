import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { SshAccess, SshRoute } from '../provider/instance.ts';
import { untilAborted } from './abort.ts';
import { resolveDialable, type Resolve } from './address-policy.ts';
import { dialTcp } from './dial.ts';
import { SshError } from './ssh-failure.ts';

/** Where an instance's sshd is to be found. */
export interface SshTarget {
  readonly access: SshAccess;
  /** Needed where `access.routes` is `'dial'`. */
  readonly dial?: (signal: AbortSignal) => Promise<Duplex>;
  /** The provider's capability: loopback and private addresses are to be expected. */
  readonly privateAddresses: boolean;
}

export type Route = SshRoute | 'dial';

/** A byte stream to the route's sshd. Throws SshError, AddressRefused, or the signal's reason. */
export async function openRoute(
  target: Omit<SshTarget, 'access'>,
  route: Route,
  signal: AbortSignal,
  resolve: Resolve,
): Promise<Duplex> {
  if (route === 'dial') {
    if (target.dial === undefined) throw new SshError('unknown', 'connect: the provider offers no way to dial this instance');
    return openDial(target.dial, signal);
  }
  if (!Number.isInteger(route.port) || route.port < 1 || route.port > 65_535) {
    throw new SshError('unknown', `connect: ${route.port} is no port`);
  }
  const addresses = await resolveDialable(route.host, { privateAddresses: target.privateAddresses, resolve, signal });
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await dialTcp({ address, port: route.port, signal });
    } catch (error) {
      failure = error;
      if (signal.aborted) break;
    }
  }
  throw failure;
}

/** What the provider dialled. What comes after the signal is nobody's any more and is closed. Throws SshError, or the signal's reason. */
export async function openDial(dial: (signal: AbortSignal) => Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  const opening = dial(signal);
  try {
    return await untilAborted(opening, signal, 'connect');
  } catch (error) {
    // a stream that still comes is nobody's any more; a failure of it has no further meaning
    opening.then(
      (late) => late.on('error', () => {}).destroy(),
      () => {},
    );
    if (signal.aborted || error instanceof SshError) throw error;
    throw new SshError('network_unreachable', 'connect: the provider could not reach the instance', error);
  }
}

export function routesOf({ routes }: SshAccess): readonly Route[] {
  return routes === 'dial' ? ['dial'] : routes;
}

/** For messages and logs. */
export function routeText(route: Route): string {
  return route === 'dial' ? 'the provider’s tunnel' : `${route.host}:${route.port}`;
}

/** Each route in turn with its share of what is left of the budget, so that a silent one does not starve the next. */
export function createShares({
  clock,
  budgetMs,
  routes,
}: {
  clock: Pick<Clock, 'monotonicMs'>;
  budgetMs: number;
  routes: number;
}) {
  const endsAt = clock.monotonicMs() + budgetMs;
  let left = routes;
  return {
    nextMs: () => {
      const share = Math.max(0, endsAt - clock.monotonicMs()) / Math.max(1, left);
      left -= 1;
      return share;
    },
  };
}
