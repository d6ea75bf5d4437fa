import { randomBytes } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { Secret } from '../core/secret.ts';
import { handOffCommand, parseHandOffAnswer, parseSample, type HandOffAnswer } from '../provider/key-hand-off.ts';
import { systemResolve, type Resolve } from './address-policy.ts';
import { readBanner } from './banner.ts';
import { compareGpus, GPU_QUERY, readGpus, type FoundGpu } from './gpu-probe.ts';
import { createHandshakeGate, type HandshakeGate } from './handshake-gate.ts';
import type { ProbeKey, ProofOutcome, ProofRequest, ProofTimings } from './proof.ts';
import { fingerprintOf } from './public-key.ts';
import { createShares, openRoute, routesOf, routeText, type Route, type SshTarget } from './reach.ts';
import { openSsh, type SshConnection } from './ssh-client.ts';
import { AddressRefused, HostKeyRefused, SshError, type SshFailureKind } from './ssh-failure.ts';

export interface SshVerifier {
  /** Whether a sshd names itself at the route: the cheapest question. Rejects only with the caller's own abort. */
  probePort(route: Route, options: PortProbeOptions): Promise<PortProbeOutcome>;
  /**
   * Proves on one connection that the consumer can log in, and hands the keys over. May be repeated: the second time finds what the
   * first did. Rejects only with the caller's own abort, or with what `beforeHandOff` threw.
   */
  prove(request: ProofRequest, options: { signal: AbortSignal }): Promise<ProofOutcome>;
}

export interface PortProbeOptions extends Pick<SshTarget, 'dial' | 'privateAddresses'> {
  readonly budgetMs: number;
  readonly signal: AbortSignal;
}

export type PortProbeOutcome =
  | { readonly kind: 'banner'; readonly banner: string }
  | { readonly kind: 'not_yet'; readonly reason: SshFailureKind; readonly message: string }
  | { readonly kind: 'address_refused'; readonly message: string };

export interface SshVerifierDeps {
  readonly clock: Pick<Clock, 'monotonicMs' | 'timeoutSignal'>;
  readonly log: Log;
  readonly resolve?: Resolve;
  /** Shared with the sampler, so that all connections together stay under one limit. */
  readonly gate?: HandshakeGate;
}

/** One try at one address, from the dial to the login. */
export const HANDSHAKE_BUDGET_MS = 15_000;
export const COMMAND_BUDGET_MS = 10_000;

export function createSshVerifier(deps: SshVerifierDeps): SshVerifier {
  const resolve = deps.resolve ?? systemResolve;
  const gate = deps.gate ?? createHandshakeGate();
  const context = { clock: deps.clock, log: deps.log, resolve };
  return {
    probePort: (route, options) => probePort(route, options, context),
    prove: (request, { signal }) => gate(() => prove(request, signal, context), signal),
  };
}

interface Context {
  readonly clock: Pick<Clock, 'monotonicMs' | 'timeoutSignal'>;
  readonly log: Log;
  readonly resolve: Resolve;
}

async function probePort(route: Route, options: PortProbeOptions, { clock, resolve }: Context): Promise<PortProbeOutcome> {
  const signal = clock.timeoutSignal(Math.min(options.budgetMs, HANDSHAKE_BUDGET_MS), options.signal);
  try {
    const stream = await openRoute(options, route, signal, resolve);
    stream.on('error', () => {}); // whatever comes after the banner is of no interest
    try {
      return { kind: 'banner', banner: await readBanner(stream, signal) };
    } finally {
      stream.destroy();
    }
  } catch (error) {
    if (error instanceof AddressRefused) return { kind: 'address_refused', message: error.message };
    if (error instanceof SshError) return { kind: 'not_yet', reason: error.kind, message: error.message };
    throw error;
  }
}

// Which outcome speaks for all routes when none is proven: what was learnt furthest in.
const WEIGHT: Record<ProofOutcome['kind'], number> = {
  proven: 4,
  gpu_mismatch: 3,
  not_yet: 2,
  wrong_host: 1,
  address_refused: 0,
};

async function prove(request: ProofRequest, signal: AbortSignal, context: Context): Promise<ProofOutcome> {
  const routes = routesOf(request.access);
  const shares = createShares({ clock: context.clock, budgetMs: request.budgetMs, routes: routes.length });
  let best: ProofOutcome = { kind: 'not_yet', reason: 'unknown', message: 'the provider names no SSH address yet' };
  for (const [index, route] of routes.entries()) {
    const outcome = await proveRoute({ request, route, signal: context.clock.timeoutSignal(shares.nextMs(), signal) }, context);
    if (outcome.kind === 'proven' || outcome.kind === 'gpu_mismatch') return outcome;
    context.log.debug({ route: routeText(route), outcome }, 'ssh route not proven');
    if (index === 0 || WEIGHT[outcome.kind] > WEIGHT[best.kind]) best = outcome;
  }
  return best;
}

interface RouteTry {
  readonly request: ProofRequest;
  readonly route: Route;
  readonly signal: AbortSignal;
}

async function proveRoute({ request, route, signal }: RouteTry, context: Context): Promise<ProofOutcome> {
  const watch = createStopwatch(context.clock);
  const host = createHostCheck(request);
  let connection: SshConnection | undefined;
  try {
    const stream = await openRoute(request, route, signal, context.resolve);
    watch.lap('dialMs');
    connection = await openSsh(
      stream,
      {
        user: request.access.user,
        privateKey: privateKeyOf(request.probe),
        acceptHostKey: host.accept,
        ...(host.type === undefined ? {} : { hostKeyType: host.type }),
        handshakeMs: HANDSHAKE_BUDGET_MS,
        signal,
      },
      context.clock,
    );
    watch.lap('handshakeMs');
    const outcome = await converse({ connection, request, route, watch }, context);
    await connection.close();
    return outcome;
  } catch (error) {
    await connection?.close();
    return outcomeOf(error, { request, route, host, watch });
  }
}

interface Conversation {
  readonly connection: SshConnection;
  readonly request: ProofRequest;
  readonly route: Route;
  readonly watch: Stopwatch;
}

/** Everything that is asked once logged in. Throws SshError for what did not work. */
async function converse({ connection, request, route, watch }: Conversation, { log }: Context): Promise<ProofOutcome> {
  const { hostKey } = connection;
  const wasHandedOff = await echo(connection, { terminal: false });
  if (wasHandedOff) return earlierProof({ hostKey, route, watch, strictKex: connection.strictKex });
  if (request.terminal === true) await echo(connection, { terminal: true });
  watch.lap('echoMs');

  const warnings: string[] = [];
  let gpus: readonly FoundGpu[] = [];
  if (request.gpu !== undefined) {
    const reading = readGpus(await connection.exec(GPU_QUERY, { timeoutMs: COMMAND_BUDGET_MS }).catch(asLateDriver));
    if (reading.kind === 'not_ready') return { kind: 'not_yet', reason: 'gpu_not_ready', message: reading.message };
    gpus = reading.gpus;
    const verdict = compareGpus(gpus, request.gpu);
    if (verdict.kind === 'mismatch') return { kind: 'gpu_mismatch', found: gpus, message: verdict.message };
    if (verdict.warning !== undefined) warnings.push(verdict.warning);
  }
  watch.lap('gpuMs');

  await request.beforeHandOff?.({ hostKey, route });
  const handOff = await handOver(connection, request);
  watch.lap('handOffMs');
  if (!handOff.probeWasListed) {
    log.warn({ route: routeText(route) }, 'probe key stands in no file of the login user');
    warnings.push('the probe key is also kept where the hand-off does not reach');
  }
  return {
    kind: 'proven',
    hostKey,
    route,
    gpus,
    warnings,
    ...(connection.strictKex === undefined ? {} : { strictKex: connection.strictKex }),
    handOff,
    timings: watch.timings(),
  };
}

/** True when the key can already do nothing but print a sample. */
async function echo(connection: SshConnection, { terminal }: { terminal: boolean }): Promise<boolean> {
  const nonce = `berth-proof-${randomBytes(16).toString('hex')}`;
  const { output } = await connection.exec(`echo ${nonce}`, { timeoutMs: COMMAND_BUDGET_MS, terminal });
  if (output.split('\n').includes(nonce)) return false; // a login shell may print more
  if (parseSample(output) !== undefined) return true;
  throw new SshError('command_failed', `echo${terminal ? ' in a terminal' : ''}: the answer is not what was asked for`);
}

/** nvidia-smi hangs on a driver that is still being set up: that is the driver's lateness, not the shell's. */
function asLateDriver(error: unknown) {
  if (!(error instanceof SshError) || error.kind !== 'timeout') throw error;
  return { code: undefined, output: '', errorOutput: 'no answer in time' };
}

async function handOver(connection: SshConnection, request: ProofRequest): Promise<HandOffAnswer> {
  const command = handOffCommand({
    consumerKey: request.consumerPublicKey,
    probeKey: bareKey(request.probe.publicKey),
    probeAfter: request.probeAfter,
  });
  const { output, errorOutput } = await connection.exec(command, { timeoutMs: COMMAND_BUDGET_MS });
  const answer = parseHandOffAnswer(output);
  if (answer !== undefined) return answer;
  const complaint = (output || errorOutput).split('\n').at(-1) ?? '';
  throw new SshError('command_failed', `hand-off: ${complaint.slice(0, 200) || 'no acknowledgment'}`);
}

function earlierProof(parts: {
  hostKey: string;
  route: Route;
  watch: Stopwatch;
  strictKex?: boolean | undefined;
}): ProofOutcome {
  const { hostKey, route, watch, strictKex } = parts;
  return {
    kind: 'proven',
    hostKey,
    route,
    gpus: [],
    warnings: [],
    ...(strictKex === undefined ? {} : { strictKex }),
    handOff: 'earlier',
    timings: watch.timings(),
  };
}

interface HostCheck {
  readonly accept: (hostKey: string) => boolean;
  /** The type of the expected key. */
  readonly type: string | undefined;
  /** The key that was presented and equals the pinned one. */
  pinnedAnd(): string | undefined;
}

function createHostCheck({ pinnedHostKey, access }: ProofRequest): HostCheck {
  const known = pinnedHostKey ?? access.hostKey;
  const expected = known === undefined ? undefined : bareKey(known);
  let presented: string | undefined;
  return {
    accept: (hostKey) => {
      presented = hostKey;
      return expected === undefined || hostKey === expected;
    },
    type: expected?.split(' ')[0],
    pinnedAnd: () => (expected !== undefined && presented === expected ? expected : undefined),
  };
}

function outcomeOf(
  error: unknown,
  { request, route, host, watch }: { request: ProofRequest; route: Route; host: HostCheck; watch: Stopwatch },
): ProofOutcome {
  if (error instanceof AddressRefused) return { kind: 'address_refused', message: error.message };
  if (error instanceof HostKeyRefused) {
    const presentedFingerprint = fingerprintOf(error.presentedKey);
    return {
      kind: 'wrong_host',
      presentedFingerprint,
      message: `${routeText(route)} is another host: it presents ${presentedFingerprint}`,
    };
  }
  if (!(error instanceof SshError)) throw error;
  const hostKey = host.pinnedAnd();
  if (error.kind === 'auth_failed' && request.handOffBegun === true && hostKey !== undefined)
    return earlierProof({ hostKey, route, watch });
  return { kind: 'not_yet', reason: error.kind, message: `${routeText(route)}: ${describeSshError(error)}` };
}

/** The message names the operation; the cause is for the log. */
function describeSshError(error: SshError): string {
  return error.kind === 'unknown' && error.cause !== undefined ? describeError(error).slice(0, 300) : error.message;
}

function bareKey(line: string): string {
  return line.trim().split(/\s+/).slice(0, 2).join(' ');
}

export function privateKeyOf({ privateKey }: ProbeKey): string {
  return privateKey instanceof Secret ? privateKey.reveal() : privateKey;
}

interface Stopwatch {
  lap(name: Exclude<keyof ProofTimings, 'totalMs'>): void;
  timings(): ProofTimings;
}

function createStopwatch(clock: Pick<Clock, 'monotonicMs'>): Stopwatch {
  const startedAt = clock.monotonicMs();
  let lapAt = startedAt;
  const laps = { dialMs: 0, handshakeMs: 0, echoMs: 0, gpuMs: 0, handOffMs: 0 };
  return {
    lap: (name) => {
      const now = clock.monotonicMs();
      laps[name] = now - lapAt;
      lapAt = now;
    },
    timings: () => ({ ...laps, totalMs: clock.monotonicMs() - startedAt }),
  };
}
