import type { UsageSample } from '../../src/provider/key-hand-off.ts';
import type { ProofOutcome, ProofRequest } from '../../src/ssh/proof.ts';
import type { Sampler, SampleOutcome } from '../../src/ssh/sampler.ts';
import type { SshVerifier } from '../../src/ssh/verifier.ts';

type Options = { readonly signal: AbortSignal };
type Reason = Extract<ProofOutcome, { kind: 'not_yet' }>['reason'];

/** What a knock meets: an outcome, or work that ends in one. */
export type Scene = (request: ProofRequest, options: Options) => ProofOutcome | Promise<ProofOutcome>;

export const HOST_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHosthosthosthosthosthosthosthosthosthostho';

/** The SSH side of a test's world: every knock and every sample is answered as the test wrote it down. */
export interface ScriptedSsh {
  readonly verifier: Pick<SshVerifier, 'prove'>;
  readonly sampler: Sampler;
  readonly knocks: readonly ProofRequest[];
  readonly samplesAsked: number;
  /** The next knocks, one scene each; the last of them goes on for ever. */
  script(...scenes: readonly Scene[]): void;
  /** What samples say from now on; undefined: none can be had. */
  use(sample: UsageSample | undefined): void;
}

/** All but the hand-off passes, that is announced, and it is proven. */
export const proves: Scene = async (request) => {
  const { routes } = request.access;
  const route = routes === 'dial' ? 'dial' : (routes[0] ?? 'dial');
  await request.beforeHandOff?.({ hostKey: HOST_KEY, route });
  return {
    kind: 'proven',
    hostKey: HOST_KEY,
    route,
    gpus: [],
    warnings: [],
    handOff: { consumer: 'present', probe: 'removed', probeWasListed: true },
    timings: { dialMs: 1, handshakeMs: 1, echoMs: 1, gpuMs: 1, handOffMs: 1, totalMs: 5 },
  };
};

export const notYet =
  (reason: Reason = 'connection_refused'): Scene =>
  () => ({ kind: 'not_yet', reason, message: `scripted: ${reason}` });

export const wrongHost: Scene = () => ({
  kind: 'wrong_host',
  presentedFingerprint: 'SHA256:other',
  message: 'another host answers there',
});

export const gpuMismatch: Scene = () => ({ kind: 'gpu_mismatch', found: [], message: '1 GPU was sold, none was found' });

/** A peer that accepts and stays silent (PEER-11.2.13): only the caller's abort ends it. */
export const silence: Scene = (_request, { signal }) =>
  new Promise((_resolve, reject) => {
    const giveUp = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });

/** The process does not live to hear of it: the hand-off is announced, and no answer ever comes. */
export const handOffWithoutAnswer: Scene = async (request) => {
  await request.beforeHandOff?.({ hostKey: HOST_KEY, route: 'dial' });
  return new Promise(() => {});
};

export function createScriptedSsh(): ScriptedSsh {
  let scenes: readonly Scene[] = [proves];
  let usage: UsageSample | undefined;
  let samplesAsked = 0;
  const knocks: ProofRequest[] = [];
  return {
    knocks,
    get samplesAsked() {
      return samplesAsked;
    },
    verifier: {
      async prove(request, options) {
        knocks.push(request);
        const [scene = proves, ...rest] = scenes;
        if (rest.length > 0) scenes = rest;
        return scene(request, options);
      },
    },
    sampler: {
      sample(): Promise<SampleOutcome> {
        samplesAsked += 1;
        return Promise.resolve(
          usage ? { kind: 'sample', sample: usage } : { kind: 'failed', reason: 'timeout', message: 'scripted' },
        );
      },
    },
    script: (...next) => {
      scenes = next;
    },
    use: (sample) => {
      usage = sample;
    },
  };
}
