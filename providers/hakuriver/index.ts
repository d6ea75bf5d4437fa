import { Secret } from '../../src/core/secret.ts';
import { isLoopbackUrl } from '../../src/provider/http-client.ts';
import { defineProvider } from '../../src/provider/provider-module.ts';
import { createHakuClient } from './client.ts';
import { Environment, proxyOf } from './environment.ts';
import { createHakuProvider } from './provider.ts';

/** A cluster of HakuRiver or KohakuRiver that somebody runs already. */
export const hakuriver = defineProvider({
  id: 'hakuriver',
  environment: Environment,
  isOn: ({ HAKURIVER_HOST_URL: url }) => url !== undefined,
  create: async (environment, { clock, log }) => {
    const { HAKURIVER_HOST_URL: baseUrl, HAKURIVER_TOKEN: token, HAKURIVER_CONTAINER: container } = environment;
    if (baseUrl === undefined) throw new Error('hakuriver: HAKURIVER_HOST_URL is not set');
    if (!isLoopbackUrl(baseUrl)) {
      log.warn(
        { provider: 'hakuriver', baseUrl: baseUrl.href },
        'hakuriver: whoever reaches the Host, a Runner or a port of a VPS can read public keys and start or end machines; keep that network closed',
      );
    }
    return createHakuProvider({
      client: createHakuClient({
        baseUrl,
        ...(token && { authorization: new Secret(`Bearer ${token.reveal()}`) }),
        allowPlainHttp: environment.HAKURIVER_ALLOW_PLAIN_HTTP,
        clock,
        log,
      }),
      settings: {
        baseUrl,
        proxy: proxyOf(environment, baseUrl),
        ...(container !== undefined && { container }),
        priceMicrosPerHour: environment.HAKURIVER_PRICE_PER_HOUR,
      },
      clock,
      log,
    });
  },
});
