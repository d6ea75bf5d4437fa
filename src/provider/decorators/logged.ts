import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import { plainLine } from '../../core/text.ts';
import { ProviderError } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { aroundEveryCall } from './around.ts';
import type { ProviderCall } from './around.ts';

/**
 * One debug line for each call that reaches the provider, a warning for one that fails. Only ids, kinds and times are said, and the
 * error's own message, which is fit for a consumer; of its causes only their names and system codes, since a vendor's body or
 * address may hold a key. Our own cancelling is no warning.
 */
export function logged(
  provider: Provider,
  { clock, log }: { readonly clock: Pick<Clock, 'monotonicMs'>; readonly log: Pick<Log, 'debug' | 'warn'> },
): Provider {
  return aroundEveryCall(provider, async (call, proceed) => {
    const startedAt = clock.monotonicMs();
    const fields = () => ({ provider: provider.id, ...whatAbout(call), tookMs: Math.round(clock.monotonicMs() - startedAt) });
    let result;
    try {
      result = await proceed(call.options);
    } catch (error) {
      const failure = { ...fields(), ...describeFailure(error) };
      if (call.options.signal.aborted) log.debug(failure, 'provider call cancelled');
      else log.warn(failure, 'provider call failed');
      throw error;
    }
    log.debug(fields(), 'provider call answered');
    return result;
  });
}

function whatAbout({ operation, instanceId, request }: ProviderCall): Readonly<Record<string, string>> {
  return {
    operation,
    ...(instanceId !== undefined && { instanceId }),
    ...(request && { tag: request.tag, offerId: request.offer.id }),
  };
}

function describeFailure(error: unknown): Readonly<Record<string, unknown>> {
  const causes = namesOfCauses(error);
  return {
    ...(error instanceof ProviderError && {
      kind: error.kind,
      reason: plainLine(error.message),
      ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    }),
    ...(causes.length > 0 && { causes }),
  };
}

const SYSTEM_CODE = /^[A-Z][A-Z0-9_]{1,40}$/;

function namesOfCauses(error: unknown): readonly string[] {
  const names: string[] = [];
  let cause = error instanceof ProviderError ? error.cause : error;
  for (; cause instanceof Error && names.length < 5; cause = cause.cause) {
    const code = 'code' in cause && typeof cause.code === 'string' && SYSTEM_CODE.test(cause.code) ? ` ${cause.code}` : '';
    names.push(plainLine(cause.name, 40) + code);
  }
  return names;
}
