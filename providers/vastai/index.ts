import { Secret } from '../../src/core/secret.ts';
import { isLoopbackUrl } from '../../src/provider/http-client.ts';
import { defineProvider } from '../../src/provider/provider-module.ts';
import { createVastClient } from './client.ts';
import { DEFAULT_BASE_URL, Environment } from './environment.ts';
import { createVastProvider } from './provider.ts';

/** The market of Vast.ai. */
export const vastai = defineProvider({
  id: 'vastai',
  environment: Environment,
  isOn: ({ VASTAI_API_KEY: key }) => key !== undefined,
  create: async (environment, { clock, random, log }) => {
    const { VASTAI_API_KEY: apiKey, VASTAI_BASE_URL: baseUrl, VASTAI_ALLOW_PLAIN_HTTP: allowPlainHttp } = environment;
    if (apiKey === undefined) throw new Error('vastai: VASTAI_API_KEY is not set');
    if (baseUrl.origin !== DEFAULT_BASE_URL) {
      log.info({ provider: 'vastai', baseUrl: baseUrl.href }, 'provider is asked at another address than its own');
    }
    if (baseUrl.protocol === 'http:' && !isLoopbackUrl(baseUrl)) {
      log.warn({ provider: 'vastai', baseUrl: baseUrl.href }, 'the API key travels unencrypted to another machine');
    }
    const authorization = new Secret(`Bearer ${apiKey.reveal()}`);
    return createVastProvider({
      client: createVastClient({ baseUrl, authorization, allowPlainHttp, clock, random, log }),
      settings: {
        baseUrl,
        defaultImage: environment.VASTAI_DEFAULT_IMAGE,
        minReliability: environment.VASTAI_MIN_RELIABILITY,
        offersPerSearch: environment.VASTAI_OFFERS_PER_SEARCH,
        interruptibleOffers: environment.VASTAI_INTERRUPTIBLE_OFFERS,
        offerRowsPerDay: environment.VASTAI_OFFER_ROWS_PER_DAY,
      },
      clock,
      log,
    });
  },
});
