import { assertNever } from '../../core/assert-never.ts';
import type { Clock } from '../../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../core/duration.ts';
import { ProviderError } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { describeCall } from '../calls.ts';
import { aroundEveryCall } from './around.ts';
import type { ProviderCall } from './around.ts';

export interface CallTimeouts {
  /** Lists, reads and checks, milliseconds. */
  readonly readMs: number;
  /** The lists of all instances and of charges, whole: an account's pages come one after the other. */
  readonly listMs: number;
  readonly destroyMs: number;
  /** Attaching keys and dialling an instance, milliseconds. */
  readonly accessMs: number;
}

export const DEFAULT_CALL_TIMEOUTS: CallTimeouts = {
  readMs: 30 * SECOND_MS,
  listMs: 2 * MINUTE_MS,
  destroyMs: MINUTE_MS,
  accessMs: 30 * SECOND_MS,
};

/** How long a provider whose call was cut short may take to say itself what became of it. */
const LAST_WORD_MS = SECOND_MS;
/** Made once, since an error costs its stack at each call. */
const ANSWERED = new Error('answered');

/**
 * Holds a provider to its promise to throw nothing but `ProviderError`, and each call to its time. What else is thrown becomes
 * `ambiguous` for a create and `protocol` for the rest. A call that ran out of time or was cancelled is asked for a last word; without a fitting
 * one it is `ambiguous` for a create, which was sent and may have happened, and `unavailable` for the rest. A provider that ignores
 * its signal is left alone after a second: what it still does to the vendor is found by the tag.
 */
export function guarded(
  provider: Provider,
  { clock, timeouts = DEFAULT_CALL_TIMEOUTS }: { readonly clock: Clock; readonly timeouts?: CallTimeouts },
): Provider {
  return aroundEveryCall(provider, async (call, proceed) => {
    const { operation, options } = call;
    const fail = (kind: 'unavailable' | 'ambiguous' | 'protocol', why: string, cause: unknown) =>
      new ProviderError({
        kind,
        provider: provider.id,
        operation,
        message: `${describeCall(provider, operation)}: ${why}`,
        cause,
      });
    if (options.signal.aborted) throw fail('unavailable', 'cancelled before it was sent', options.signal.reason);

    const limitMs = timeLimitMs(call, provider, timeouts);
    const signal = clock.timeoutSignal(limitMs, options.signal);
    try {
      return await answerOrLastWord({ answer: proceed({ signal }), signal, clock });
    } catch (error) {
      if (error instanceof ProviderError) throw error;
      if (signal.aborted) {
        const why = options.signal.aborted ? 'cancelled' : `no answer within ${limitMs / SECOND_MS} s`;
        if (operation === 'CreateInstance') throw fail('ambiguous', `${why}; it may have happened`, error);
        throw fail('unavailable', why, error);
      }
      if (operation === 'CreateInstance') throw fail('ambiguous', 'failed in an unforeseen way; it may have happened', error);
      throw fail('protocol', 'failed in an unforeseen way', error);
    }
  });
}

function timeLimitMs({ operation }: ProviderCall, { capabilities }: Provider, timeouts: CallTimeouts): number {
  switch (operation) {
    case 'CreateInstance':
      return capabilities.createTimeoutMs;
    case 'DestroyInstance':
      return timeouts.destroyMs;
    case 'AttachSSHKey':
    case 'DetachSSHKey':
    case 'DialSsh':
      return timeouts.accessMs;
    case 'ListAllInstances':
    case 'ListCharges':
      return timeouts.listMs;
    case 'ListOffers':
    case 'GetInstanceStatus':
    case 'Check':
    case 'GetBalance':
    case 'ListTemplates':
      return timeouts.readMs;
    default:
      return assertNever(operation, 'operation');
  }
}

interface Waiting<Result> {
  readonly answer: Promise<Result>;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** The answer; or, a while after the signal's abort, its reason. */
async function answerOrLastWord<Result>({ answer, signal, clock }: Waiting<Result>): Promise<Result> {
  const settled = new AbortController();
  let stopListening = () => {};
  const tooLate = new Promise<never>((_resolve, reject) => {
    const giveUp = () => {
      const reason: unknown = signal.reason;
      clock.sleep(LAST_WORD_MS, settled.signal).then(
        () => reject(reason instanceof Error ? reason : new Error('aborted', { cause: reason })),
        () => {}, // the provider had its word
      );
    };
    if (signal.aborted) return giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    stopListening = () => signal.removeEventListener('abort', giveUp);
  });
  try {
    return await Promise.race([answer, tooLate]);
  } finally {
    stopListening();
    settled.abort(ANSWERED);
  }
}
