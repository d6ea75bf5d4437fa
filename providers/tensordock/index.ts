import { Secret } from '../../src/core/secret.ts';
import { isLoopbackUrl } from '../../src/provider/http-client.ts';
import { defineProvider } from '../../src/provider/provider-module.ts';
import { createTensorDockClient } from './client.ts';
import { DEFAULT_BASE_URL, Environment } from './environment.ts';
import { createTensorDockProvider } from './provider.ts';

/** The market of TensorDock. */
export const tensordock = defineProvider({
  id: 'tensordock',
  environment: Environment,
  isOn: ({ TENSORDOCK_API_TOKEN: token }) => token !== undefined,
  create: async (environment, { clock, random, log }) => {
    const {
      TENSORDOCK_API_TOKEN: token,
      TENSORDOCK_BASE_URL: baseUrl,
      TENSORDOCK_ALLOW_PLAIN_HTTP: allowPlainHttp,
    } = environment;
    if (token === undefined) throw new Error('tensordock: TENSORDOCK_API_TOKEN is not set');
    if (baseUrl.origin !== DEFAULT_BASE_URL) {
      log.info({ provider: 'tensordock', baseUrl: baseUrl.href }, 'provider is asked at another address than its own');
    }
    if (baseUrl.protocol === 'http:' && !isLoopbackUrl(baseUrl)) {
      log.warn({ provider: 'tensordock', baseUrl: baseUrl.href }, 'the API token travels unencrypted to another machine');
    }
    const authorization = new Secret(`Bearer ${token.reveal()}`);
    return createTensorDockProvider({
      client: createTensorDockClient({ baseUrl, authorization, allowPlainHttp, clock, random, log }),
      settings: {
        baseUrl,
        defaultImage: environment.TENSORDOCK_DEFAULT_IMAGE,
        driverPackage: environment.TENSORDOCK_DRIVER_PACKAGE,
        vcpusPerGpu: environment.TENSORDOCK_VCPUS_PER_GPU,
        ramGbPerGpu: environment.TENSORDOCK_RAM_GB_PER_GPU,
        listsHostNodes: environment.TENSORDOCK_LIST_HOSTNODES,
      },
      clock,
      random,
      log,
    });
  },
});
