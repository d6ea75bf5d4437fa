import type { Reply } from '../kit/http-server.ts';
import type { Door } from './auth.ts';
import * as billing from './billing.ts';
import type { Context } from './context.ts';
import { CREATE_FIELDS, createFromAsk } from './create.ts';
import * as facts from './facts.ts';
import { getInstance, legacyList, listFilters, listInstances } from './instance-list.ts';
import * as keys from './keys.ts';
import type { Limit, Limiter } from './limits.ts';
import * as manage from './manage.ts';
import { listTemplates } from './templates.ts';
import * as webhooks from './webhooks.ts';

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  /** For the limiter and the log. */
  readonly endpoint: string;
  readonly door: Omit<Door, 'contractId'>;
  readonly limit: Limit;
  /** Fields of the body and the query that the vendor knows; strict mode refuses others. Absent: anything goes. */
  readonly fields?: readonly string[];
  readonly queries?: readonly string[];
  /** Whether the first caught part is a contract, which its own key may touch. */
  readonly isOfInstance?: boolean;
  handle(context: Context): Reply | Promise<Reply>;
}

const seconds = (value: number): Limit => ({ intervalMs: value * 1_000 });
const UNLISTED = seconds(1);

/** The vendor's endpoints, their intervals, and what a wrong key is told at each. */
export function createRoutes(limiter: Limiter): readonly Route[] {
  const instance = (method: string, tail: string, limit: Limit, handle: Route['handle'], more: Partial<Route> = {}): Route => {
    const [before = '', after = ''] = tail.split('{id}');
    return {
      method,
      path: new RegExp(`^/api/v0/instances/${before}(\\d+)${after.replace('{key}', '(\\d+)')}/$`),
      endpoint: `${method} instances/${tail}`,
      door: { scope: method === 'GET' ? 'instance_read' : 'instance_write', badKey: 401 },
      limit,
      isOfInstance: true,
      handle,
      ...more,
    };
  };
  const plain = (
    method: string,
    path: string,
    limit: Limit,
    scope: string,
    handle: Route['handle'],
    more: Partial<Route> = {},
  ): Route => ({
    method,
    path: new RegExp(`^/api/${path}/$`),
    endpoint: `${method} ${path}`,
    door: { scope, badKey: 401 },
    limit,
    handle,
    ...more,
  });
  const hidden = (scope: string, isOpenToNobody = false) => ({ door: { scope, badKey: 404, isOpenToNobody } as const });
  const search = { perMinute: 10 };
  return [
    plain('POST', 'v0/bundles', search, 'misc', facts.searchEndpoint(limiter, facts.queryOfBundles), hidden('misc', true)),
    plain('GET', 'v0/bundles', search, 'misc', facts.searchEndpoint(limiter, facts.queryOfText), hidden('misc', true)),
    plain('PUT', 'v0/search/asks', search, 'misc', facts.searchEndpoint(limiter, facts.queryOfAsks), hidden('misc', true)),
    plain('GET', 'v0/gpu_names/unique', UNLISTED, 'misc', facts.gpuNames, hidden('misc', true)),
    plain('GET', 'v0/gpu_types', UNLISTED, 'misc', facts.gpuTypes, hidden('misc', true)),
    plain('GET', 'v0/metrics/gpu/current', seconds(3), 'misc', facts.gpuMetrics),
    plain('PUT', 'v0/asks/(\\d+)', { intervalMs: 4_500, penaltyMs: 12_000 }, 'instance_write', createFromAsk, { endpoint: 'PUT asks', fields: CREATE_FIELDS }), // prettier-ignore
    plain('PUT', 'v0/launch_instance', seconds(5), 'instance_write', facts.launchInstance),
    plain('GET', 'v0/instances', UNLISTED, 'instance_read', legacyList, hidden('instance_read')),
    plain('GET', 'v0/instances/filters', UNLISTED, 'instance_read', listFilters),
    plain('GET', 'v1/instances', seconds(1), 'instance_read', listInstances, {
      ...hidden('instance_read'),
      queries: ['limit', 'after_token', 'order_by', 'select_cols', 'select_filters', 'api_key'],
    }),
    instance('GET', '{id}', seconds(2), getInstance, { queries: ['owner', 'api_key'] }),
    instance('PUT', '{id}', seconds(1), manage.changeInstance, { fields: ['state', 'label'] }),
    instance('DELETE', '{id}', seconds(3), manage.destroyInstance, { fields: [] }),
    instance('PUT', 'bid_price/{id}', seconds(5.5), manage.changeBid, { fields: ['client_id', 'price'] }),
    instance('PUT', 'reboot/{id}', seconds(1), manage.restartInstance('rebooting'), { fields: [] }),
    instance('PUT', 'recycle/{id}', seconds(1), manage.restartInstance('recycling'), { fields: [] }),
    instance('PUT', 'request_logs/{id}', UNLISTED, manage.requestLogs, { fields: ['tail', 'filter', 'daemon_logs'] }),
    instance('PUT', 'command/{id}', seconds(1.5), manage.executeCommand),
    instance('PUT', 'prepay/{id}', seconds(2), billing.prepay, { fields: ['amount'] }),
    instance('GET', 'balance/{id}', seconds(3), billing.balanceOf),
    instance('GET', '{id}/ssh', UNLISTED, keys.listInstanceKeys),
    instance('POST', '{id}/ssh', UNLISTED, keys.attachKey, { fields: ['ssh_key', 'instance_id'] }),
    instance('DELETE', '{id}/ssh/{key}', seconds(2), keys.detachKey, { fields: [] }),
    plain('GET', 'v0/instances/pending-price-increases', UNLISTED, 'instance_read', billing.priceRises),
    plain('PUT', 'v0/instances/accept-price-increase', UNLISTED, 'instance_write', billing.answerPriceRise('accept')),
    plain('PUT', 'v0/instances/reject-price-increase', UNLISTED, 'instance_write', billing.answerPriceRise('reject')),
    plain('GET', 'v0/ssh', UNLISTED, 'user_read', keys.listAccountKeys),
    plain('POST', 'v0/ssh', UNLISTED, 'user_write', keys.addAccountKey, { fields: ['ssh_key'] }),
    plain('PUT', 'v0/ssh/(\\d+)', UNLISTED, 'user_write', keys.replaceAccountKey, { endpoint: 'PUT ssh', fields: ['id', 'ssh_key'] }), // prettier-ignore
    plain('DELETE', 'v0/ssh/(\\d+)', UNLISTED, 'user_write', keys.deleteAccountKey, { endpoint: 'DELETE ssh' }),
    plain('GET', 'v0/users/current', UNLISTED, 'user_read', billing.currentUser),
    plain('GET', 'v0/webhooks', UNLISTED, 'user_read', webhooks.listWebhooks),
    plain('POST', 'v0/webhooks', UNLISTED, 'user_write', webhooks.addWebhook, { fields: ['url', 'secret', 'events'] }),
    plain('DELETE', 'v0/webhooks/(\\d+)', UNLISTED, 'user_write', webhooks.deleteWebhook, { endpoint: 'DELETE webhooks' }),
    plain('GET', 'v0/notification-types', UNLISTED, 'user_read', webhooks.notificationTypes),
    plain('GET', 'v0/charges', seconds(1), 'billing_read', billing.charges, hidden('billing_read')),
    plain('GET', 'v1/invoices', seconds(3), 'billing_read', billing.invoices),
    plain('GET', 'v[01]/template', seconds(3), 'misc', listTemplates),
  ];
}
