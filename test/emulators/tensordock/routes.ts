import type { Reply } from '../kit/http-server.ts';
import { balance, testAuth } from './account.ts';
import type { Context } from './answers.ts';
import { createVm } from './create.ts';
import { getVm, listVms } from './instances.ts';
import { getNode, listLocations, listNodes } from './inventory-rows.ts';
import * as manage from './manage.ts';
import * as secrets from './secrets.ts';

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly door: 'token' | 'open' | 'v0';
  /** Of the query and of the body's first level; strict mode refuses others. Absent for a body that is checked more deeply. */
  readonly queries: readonly string[];
  readonly fields?: readonly string[];
  handle(context: Context): Reply | Promise<Reply>;
}

const NOTHING: readonly string[] = [];

export const ROUTES: readonly Route[] = [
  route('GET', 'locations', listLocations, { door: 'open', queries: ['api_key', 'api_token'] }),
  route('GET', 'hostnodes', listNodes, { queries: ['gpu_model', 'status'] }),
  route('GET', 'hostnodes/{id}', getNode),
  route('POST', 'instances', createVm),
  route('GET', 'instances', listVms),
  route('GET', 'instances/{id}', getVm),
  route('DELETE', 'instances/{id}', manage.destroyVm, { fields: NOTHING }),
  route('POST', 'instances/{id}/start', manage.startVm, { fields: NOTHING }),
  route('POST', 'instances/{id}/stop', manage.stopVm, { fields: NOTHING }),
  route('PUT', 'instances/{id}/modify', manage.modifyVm, { fields: manage.MODIFY_FIELDS }),
  route('GET', 'secrets', secrets.listSecrets),
  route('POST', 'secrets', secrets.addSecret, { fields: ['data'] }),
  route('GET', 'secrets/{id}', secrets.getSecret),
  route('DELETE', 'secrets/{id}', secrets.deleteSecret, { fields: NOTHING }),
  route('POST', 'auth/test', testAuth, { fields: NOTHING }),
  { method: 'POST', path: /^\/api\/v0\/auth\/test$/, door: 'v0', queries: NOTHING, handle: testAuth },
  { method: 'POST', path: /^\/api\/v0\/billing\/balance$/, door: 'v0', queries: NOTHING, handle: balance },
];

function route(method: string, path: string, handle: Route['handle'], more: Partial<Route> = {}): Route {
  return {
    method,
    path: new RegExp(`^/api/v2/${path.replace('{id}', '([\\w-]+)')}$`),
    door: 'token',
    queries: NOTHING,
    handle,
    ...more,
  };
}
