import type { MicroUsd } from '../../src/core/money.ts';
import { fromUsd } from '../../src/core/money.ts';
import { assertNever } from '../../src/core/assert-never.ts';
import type { EpochMs } from '../../src/core/clock.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance, SshRoute, Utilisation } from '../../src/provider/instance.ts';
import { parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import type { Heartbeats } from './heartbeats.ts';
import { tellStatus, type ToldStatus } from './mapping.ts';
import type { InstanceRecord } from './schema.ts';

/** The variable that carries the tag beside the label. */
export const TAG_VARIABLE = 'BERTH_TAG';
export const LOGIN_USER = 'root';
const HOURS_PER_MONTH = 720;
const HIGHEST_PERCENT = 100;

export interface InstanceContext {
  readonly heartbeats: Heartbeats;
  readonly now: EpochMs;
}

/** Their record as an instance. `told` is what its status means; handed in where the caller has looked into it already. */
export function toInstance(
  record: InstanceRecord,
  { heartbeats, now }: InstanceContext,
  told: ToldStatus = tellStatus(record),
): Instance {
  const tag = tagOf(record);
  const state = told.becomes === 'silent' ? (heartbeats.isSilentForLong(record.id) ? 'failed' : 'starting') : told.becomes;
  heartbeats.note(record, { isSilent: told.becomes === 'silent', now });
  const price = priceIn(record, told);
  const utilisation = told.becomes === 'running' ? utilisationOf(record, heartbeats) : undefined;
  const common = {
    id: instanceId(record.id),
    ...(tag !== undefined && { tag }),
    ...(price !== undefined && { priceMicrosPerHour: price }),
    ...(utilisation && { utilisation }),
  };
  switch (state) {
    case 'running': {
      const routes = routesOf(record);
      return routes.length === 0 ? { ...common, state: 'starting' } : { ...common, state, ssh: { user: LOGIN_USER, routes } };
    }
    case 'failed':
      return {
        ...common,
        state,
        reason: told.reason || 'the host has not answered for ten minutes',
        ...(told.fault && { fault: told.fault }),
      };
    case 'starting':
    case 'stopping':
    case 'paused':
      return { ...common, state };
    default:
      return assertNever(state, 'state');
  }
}

/** The label, or else the variable that the create set: a label can be overwritten in their console. */
export function tagOf({ label, extra_env: environment }: Pick<InstanceRecord, 'label' | 'extra_env'>): string | undefined {
  return [label, variableIn(environment)].find((text) => text !== undefined && parseOwnershipTag(text) !== undefined);
}

function variableIn(environment: unknown): string | undefined {
  if (Array.isArray(environment)) {
    const pair: unknown = environment.find((each: unknown) => Array.isArray(each) && each[0] === TAG_VARIABLE);
    return Array.isArray(pair) && typeof pair[1] === 'string' ? pair[1] : undefined;
  }
  if (typeof environment !== 'object' || environment === null || !(TAG_VARIABLE in environment)) return undefined;
  const value = environment[TAG_VARIABLE];
  return typeof value === 'string' ? value : undefined;
}

/** Direct first: their proxies stall and refuse on their own. Both are tried in each round. */
function routesOf({
  ports,
  public_ipaddr: address,
  ssh_host: proxy,
  ssh_port: proxyPort,
}: InstanceRecord): readonly SshRoute[] {
  const hostPort = ports?.['22/tcp']?.find(({ HostPort: port }) => port !== null && port !== undefined)?.HostPort;
  return [routeTo(address, Number(hostPort ?? Number.NaN)), routeTo(proxy, proxyPort ?? Number.NaN)].filter(
    (route) => route !== undefined,
  );
}

function routeTo(host: string | undefined, port: number): SshRoute | undefined {
  const name = host?.trim() ?? '';
  const isHost = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$|^[0-9A-Fa-f:]{2,45}$/.test(name);
  return isHost && Number.isInteger(port) && port >= 1 && port <= 65_535 ? { host: name, port } : undefined;
}

/**
 * What is billed in this state: the whole while it runs, the disk alone before and after. Their `dph_total` never changes. In a state
 * that nobody knows it may well run: a bill that is too high is noticed sooner than one that is too low.
 */
function priceIn(record: InstanceRecord, { becomes, story }: ToldStatus): MicroUsd | undefined {
  const billsAll = becomes === 'running' || becomes === 'silent' || story === 'unheard of';
  const usd = billsAll ? record.dph_total : (record.storage_total_cost ?? diskUsd(record));
  return usd === undefined || usd < 0 || usd > 1_000_000 ? undefined : fromUsd(usd);
}

function diskUsd({ disk_space: diskGb, storage_cost: perMonth }: InstanceRecord): number | undefined {
  return diskGb === undefined || perMonth === undefined ? undefined : (diskGb * perMonth) / HOURS_PER_MONTH;
}

function utilisationOf(record: InstanceRecord, heartbeats: Heartbeats): Utilisation | undefined {
  const gpuPercent = percent(record.gpu_util);
  const cpuPercent = percent(record.cpu_util);
  const sampledAt = heartbeats.beatAt(record.id);
  if (sampledAt === undefined || (gpuPercent === undefined && cpuPercent === undefined)) return undefined;
  return { ...(gpuPercent !== undefined && { gpuPercent }), ...(cpuPercent !== undefined && { cpuPercent }), sampledAt };
}

/** Null is unknown, and so is −1: never idle. */
function percent(told: number | undefined): number | undefined {
  return told === undefined || told < 0 ? undefined : Math.min(HIGHEST_PERCENT, told);
}
