import type { Clock, EpochMs } from '../core/clock.ts';
import { BrokerError } from '../core/errors.ts';
import type { ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { Template, TemplateListing } from '../provider/template.ts';

/** The templates of all providers. Each provider keeps its own; here nothing is remembered. */
export interface TemplateCatalogue {
  /** Those that have templates at all. */
  readonly providers: readonly ProviderId[];
  /** What each of them recommends. Throws BrokerError `provider_unavailable` when there are some and none has an answer. */
  list(): Promise<readonly ProviderTemplates[]>;
  /** By hash, also one that is not recommended. Throws BrokerError `provider_unavailable` when it is not known and somebody could not be asked. */
  find(hashId: string): Promise<FoundTemplate | undefined>;
}

export interface ProviderTemplates {
  readonly provider: ProviderId;
  readonly templates: readonly Template[];
  /** When it was asked; absent when it has never answered. */
  readonly observedAt?: EpochMs;
  readonly dropped: number;
  /** Why there is no answer. */
  readonly error?: { readonly kind: string; readonly message: string };
}

export interface FoundTemplate {
  readonly template: Template;
  readonly observedAt: EpochMs;
}

export interface TemplateCatalogueDeps {
  readonly providers: readonly Pick<Provider, 'id' | 'templates'>[];
  readonly clock: Pick<Clock, 'timeoutSignal'>;
  /** For an answer of a provider, its repeats included. */
  readonly timeoutMs: number;
}

export function createTemplateCatalogue({ providers, clock, timeoutMs }: TemplateCatalogueDeps): TemplateCatalogue {
  const able = providers.flatMap((provider) => {
    const { id, templates } = provider;
    if (!templates) return [];
    const ask = async (query: { readonly hashId?: string }): Promise<TemplateListing | ProviderError> => {
      try {
        return await templates.call(provider, query, { signal: clock.timeoutSignal(timeoutMs) });
      } catch (error) {
        if (error instanceof ProviderError) return error;
        throw error;
      }
    };
    return [{ id, ask }];
  });

  return {
    providers: able.map(({ id }) => id),

    async list() {
      const listed = await Promise.all(able.map(async ({ id, ask }) => ({ id, answer: await ask({}) })));
      const failures = listed.flatMap(({ answer }) => (answer instanceof ProviderError ? [answer] : []));
      if (failures[0] && failures.length === listed.length) throw unavailable('list templates', failures[0]);
      return listed.map(({ id, answer }) =>
        answer instanceof ProviderError
          ? { provider: id, templates: [], dropped: 0, error: { kind: answer.kind, message: answer.message } }
          : { provider: id, ...answer },
      );
    },

    async find(hashId) {
      const answers = await Promise.all(able.map(({ ask }) => ask({ hashId })));
      for (const answer of answers) {
        if (answer instanceof ProviderError) continue;
        const [template] = answer.templates;
        if (template) return { template, observedAt: answer.observedAt };
      }
      const failure = answers.find((answer) => answer instanceof ProviderError);
      if (failure) throw unavailable('find template', failure);
      return undefined;
    },
  };
}

function unavailable(what: string, cause: ProviderError): BrokerError {
  const isForOperator = cause.kind === 'auth' || cause.kind === 'funds' || cause.kind === 'protocol';
  return new BrokerError({
    code: 'provider_unavailable',
    message: `${what}: ${cause.message}`,
    details: {
      provider: cause.provider,
      retry_suggested: !isForOperator,
      message: isForOperator ? 'Ask the operator: the account at the provider is at fault.' : 'Try again later.',
    },
    cause,
  });
}
