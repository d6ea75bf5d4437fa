import type { Log } from '../../src/core/log.ts';
import { ProviderError, type ProviderOperation } from '../../src/provider/provider-error.ts';
import type { Call, HakuClient } from './client.ts';
import type { Generation } from './dialect.ts';
import { failure } from './mapping.ts';
import { tagOf } from './ssh-keys.ts';

const NO_CARRIER =
  'this version of HakuRiver gives back neither the keys nor the name of a VPS, so that nobody could tell ours from a stranger’s; ' +
  'nothing is created there (HakuRiver up to 0.3.0 and KohakuRiver work)';

/** Whether the Host gives the ownership tag back: without that, a create whose answer is lost could never be found again. */
export interface Carrier {
  isMissing(generation: Generation): boolean;
  /** Throws `rejected` where the tag is known not to come back. */
  require(generation: Generation, operation: ProviderOperation): void;
  /** Reads the first VPS that is made back; false when it does not bear its tag. What cannot be read proves nothing, and the next one is read. */
  isProvenBy(made: { readonly id: string; readonly tag: string }, call: Call): Promise<boolean>;
}

interface CarrierDeps {
  readonly client: Pick<HakuClient, 'task'>;
  readonly log: Log;
}

export function createCarrier({ client, log }: CarrierDeps): Carrier {
  let verdict: 'open' | 'proven' | 'missing' = 'open';
  const isMissing = (generation: Generation) => generation === 'rewrite' || verdict === 'missing';

  return {
    isMissing,
    require(generation, operation) {
      if (isMissing(generation)) throw failure({ operation, kind: 'rejected', why: NO_CARRIER });
    },
    async isProvenBy({ id, tag }, call) {
      if (verdict === 'proven') return true;
      try {
        const row = await client.task(id, call);
        if (row === undefined) return true;
        verdict = tagOf(row) === tag ? 'proven' : 'missing';
        if (verdict === 'missing') log.error({ provider: 'hakuriver' }, NO_CARRIER);
        return verdict === 'proven';
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error;
        return true;
      }
    },
  };
}
