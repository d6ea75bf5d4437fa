import type { Clock, EpochMs } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import { madeAt } from '../core/ids.ts';
import type { MicroUsd } from '../core/money.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { parseOwnershipTag, type TagParts } from '../provider/ownership-tag.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';

/** An instance that bears, to the letter, the tag of some Berth installation. */
export interface TaggedInstance extends TagParts {
  readonly provider: ProviderId;
  readonly tag: NonNullable<ReturnType<typeof parseOwnershipTag>>['tag'];
  readonly instance: Instance;
}

/** What one provider said when it was asked for everything. */
export type ProviderSurvey =
  | {
      readonly id: ProviderId;
      readonly isListed: true;
      /** Everything that it has, whoever's. */
      readonly instances: readonly Instance[];
      readonly tagged: readonly TaggedInstance[];
      /** Somebody else's, counted and nothing more. */
      readonly untagged: number;
    }
  /** Nothing is known of it: never the same as none. */
  | { readonly id: ProviderId; readonly isListed: false; readonly error: string };

/** A provider that may be asked, or why it cannot even be spoken to. */
export type Surveyed = Provider | { readonly id: ProviderId; readonly fault: string };

interface SurveyDeps {
  readonly providers: readonly Surveyed[];
  readonly clock: Clock;
  readonly callTimeoutMs: number;
}

const MOST_TRIES = 10;
const LONGEST_PAUSE_MS = 30 * SECOND_MS;

/** Asks every provider for its complete list, all at once: one that hangs or fails hides no other one. */
export function surveyInstances({ providers, clock, callTimeoutMs }: SurveyDeps): Promise<readonly ProviderSurvey[]> {
  return Promise.all(
    providers.map(async (provider): Promise<ProviderSurvey> => {
      const { id } = provider;
      if ('fault' in provider) return { id, isListed: false, error: provider.fault };
      try {
        return surveyOf(id, await listPatiently(provider, { clock, callTimeoutMs }));
      } catch (error) {
        return { id, isListed: false, error: error instanceof ProviderError ? error.message : describeError(error) };
      }
    }),
  );
}

/** A broker that still runs may have used up the account's calls: then it is this command's turn a moment later. */
async function listPatiently(
  provider: Provider,
  { clock, callTimeoutMs }: Pick<SurveyDeps, 'clock' | 'callTimeoutMs'>,
): Promise<readonly Instance[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await provider.listInstances({ signal: clock.timeoutSignal(callTimeoutMs) });
    } catch (error) {
      const isBusy = error instanceof ProviderError && error.kind === 'rate_limited';
      if (!isBusy || tries >= MOST_TRIES) throw error;
      await clock.sleep(Math.min(Math.max(error.retryAfterMs ?? 0, tries * SECOND_MS), LONGEST_PAUSE_MS));
    }
  }
}

export function surveyOf(provider: ProviderId, instances: readonly Instance[]): Extract<ProviderSurvey, { isListed: true }> {
  const tagged = instances.flatMap((instance) => {
    const parts = instance.tag === undefined ? undefined : parseOwnershipTag(instance.tag);
    return parts === undefined ? [] : [{ ...parts, provider, instance }];
  });
  return { id: provider, isListed: true, instances, tagged, untagged: instances.length - tagged.length };
}

export function taggedIn(surveys: readonly ProviderSurvey[]): readonly TaggedInstance[] {
  return surveys.flatMap((survey) => (survey.isListed ? survey.tagged : []));
}

/** When it was made: as its provider dates it, else not before its session was asked for. */
export function bornAt({ instance, sessionId }: Pick<TaggedInstance, 'instance' | 'sessionId'>): EpochMs {
  return instance.createdAt ?? madeAt(sessionId);
}

/** What they cost an hour together; `unpriced` of them do not say. */
export function priceOf(instances: readonly TaggedInstance[]): { readonly microsPerHour: MicroUsd; readonly unpriced: number } {
  const prices = instances.map(({ instance }) => instance.priceMicrosPerHour);
  return {
    microsPerHour: prices.reduce<MicroUsd>((sum, price) => sum + (price ?? 0), 0),
    unpriced: prices.filter((price) => price === undefined).length,
  };
}
