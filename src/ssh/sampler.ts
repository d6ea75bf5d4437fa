import type { Clock } from '../core/clock.ts';
import { parseSample, SAMPLE_COMMAND, type UsageSample } from '../provider/key-hand-off.ts';
import { systemResolve, type Resolve } from './address-policy.ts';
import { createHandshakeGate, type HandshakeGate } from './handshake-gate.ts';
import type { ProbeKey } from './proof.ts';
import { createShares, openRoute, routesOf, routeText, type Route, type SshTarget } from './reach.ts';
import { openSsh } from './ssh-client.ts';
import { AddressRefused, HostKeyRefused, SshError, type SshFailureKind } from './ssh-failure.ts';
import { COMMAND_BUDGET_MS, HANDSHAKE_BUDGET_MS, privateKeyOf } from './verifier.ts';

export interface SampleRequest extends SshTarget {
  readonly probe: ProbeKey;
  /** From the proof. */
  readonly pinnedHostKey: string;
  readonly budgetMs: number;
}

/** A failure is no sample, and no sample is not idle: the consumer is root there and may have removed our line. */
export type SampleOutcome =
  | { readonly kind: 'sample'; readonly sample: UsageSample }
  | { readonly kind: 'failed'; readonly reason: SshFailureKind | 'wrong_host' | 'address_refused'; readonly message: string };

export interface Sampler {
  /** Asks an instance for its use, through the restricted probe key. Rejects only with the caller's own abort. */
  sample(request: SampleRequest, options: { signal: AbortSignal }): Promise<SampleOutcome>;
}

export interface SamplerDeps {
  readonly clock: Pick<Clock, 'monotonicMs' | 'timeoutSignal'>;
  readonly resolve?: Resolve;
  readonly gate?: HandshakeGate;
}

export function createSampler(deps: SamplerDeps): Sampler {
  const context = { clock: deps.clock, resolve: deps.resolve ?? systemResolve };
  const gate = deps.gate ?? createHandshakeGate();
  return { sample: (request, { signal }) => gate(() => sample(request, signal, context), signal) };
}

type Context = Required<Pick<SamplerDeps, 'clock' | 'resolve'>>;

async function sample(request: SampleRequest, signal: AbortSignal, context: Context): Promise<SampleOutcome> {
  const routes = routesOf(request.access);
  const shares = createShares({ clock: context.clock, budgetMs: request.budgetMs, routes: routes.length });
  let outcome: SampleOutcome = { kind: 'failed', reason: 'unknown', message: 'the provider names no SSH address' };
  for (const route of routes) {
    outcome = await sampleRoute({ request, route, signal: context.clock.timeoutSignal(shares.nextMs(), signal) }, context);
    if (outcome.kind === 'sample') break;
  }
  return outcome;
}

async function sampleRoute(
  { request, route, signal }: { request: SampleRequest; route: Route; signal: AbortSignal },
  { clock, resolve }: Context,
): Promise<SampleOutcome> {
  const [type = '', base64 = ''] = request.pinnedHostKey.trim().split(/\s+/);
  try {
    const stream = await openRoute(request, route, signal, resolve);
    const login = {
      user: request.access.user,
      privateKey: privateKeyOf(request.probe),
      acceptHostKey: (hostKey: string) => hostKey === `${type} ${base64}`,
      hostKeyType: type,
      handshakeMs: HANDSHAKE_BUDGET_MS,
      signal,
    };
    const connection = await openSsh(stream, login, clock);
    try {
      // a restricted key runs its own command whatever is asked; asking for the same serves a key that is not restricted yet
      const { output } = await connection.exec(SAMPLE_COMMAND, { timeoutMs: COMMAND_BUDGET_MS });
      const read = parseSample(output);
      if (read === undefined) throw new SshError('command_failed', 'sample: the answer is no sample');
      return { kind: 'sample', sample: read };
    } finally {
      await connection.close();
    }
  } catch (error) {
    if (error instanceof AddressRefused) return { kind: 'failed', reason: 'address_refused', message: error.message };
    if (error instanceof HostKeyRefused)
      return { kind: 'failed', reason: 'wrong_host', message: `${routeText(route)} is another host` };
    if (error instanceof SshError)
      return { kind: 'failed', reason: error.kind, message: `${routeText(route)}: ${error.message}` };
    throw error;
  }
}
