import type { Clock } from '../../core/clock.ts';
import { isPast } from '../../core/moment.ts';
import { ProviderError } from '../provider-error.ts';
import type { Provider } from '../provider.ts';
import { describeCall } from '../calls.ts';
import { aroundEveryCall } from './around.ts';

/**
 * Refuses a create, and any other call that has one, whose deadline has passed, just before it would be sent (RULE-R11): a process that was
 * paused, a machine that was suspended, or a call that waited in a lane, must not make a machine that nobody expects any more, nor destroy by what
 * was seen long ago. `unavailable`, since nothing was done. Belongs inside whatever waits.
 */
export function fenced(provider: Provider, { clock }: { readonly clock: Pick<Clock, 'monotonicMs' | 'machineNow'> }): Provider {
  return aroundEveryCall(provider, async ({ operation, options, request }, proceed) => {
    const deadline = request?.notAfter ?? options.notAfter;
    if (deadline && isPast(deadline, clock)) {
      throw new ProviderError({
        kind: 'unavailable',
        provider: provider.id,
        operation,
        message: `${describeCall(provider, operation)}: not sent, its deadline had passed`,
      });
    }
    return proceed(options);
  });
}
