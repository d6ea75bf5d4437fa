import type { Clock, EpochMs } from '../core/clock.ts';
import { DAY_MS, HOUR_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { SessionId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import { billOf, type BilledSegment } from '../costs/bill.ts';
import { judgeCharge, type ChargeVerdict } from '../costs/charge-verdict.ts';
import type { CostRepository } from '../costs/cost-repository.ts';
import type { Charge, ChargeListing } from '../provider/charge.ts';
import type { InstanceId, ProviderId } from '../provider/ids.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { Controller } from './controller.ts';

/** What reconciliation counts; the metrics implement it. */
export interface ChargeMetrics {
  /** An ended instance's own cost was held against what its provider has billed; said once an instance. */
  chargeReconciled(provider: ProviderId, result: Exclude<ChargeVerdict, 'awaited'>): void;
}

interface ChargeReconciliationDeps {
  readonly sessions: Pick<SessionRepository, 'find'>;
  readonly costs: Pick<CostRepository, 'segmentsIn' | 'segmentsOf'>;
  readonly providers: ReadonlyMap<ProviderId, Pick<Provider, 'id' | 'charges'>>;
  readonly clock: Pick<Clock, 'now' | 'timeoutSignal'>;
  readonly log: Log;
  readonly metrics: ChargeMetrics;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

/** Sooner, the rows of the last hour are not there. */
const BILLED_AFTER_MS = 2 * HOUR_MS;
/** Longer than a verdict takes, so that each instance gets one. */
const WINDOW_MS = 3 * DAY_MS;

/** An attempt that has ended, with what we reckon that it has cost. */
interface Ended {
  readonly key: string;
  readonly sessionId: SessionId;
  readonly ordinal: number;
  readonly instanceId: InstanceId;
  readonly from: EpochMs;
  readonly until: EpochMs;
  readonly oursMicros: MicroUsd;
  readonly priceMicrosPerHour: MicroUsd;
}

/**
 * Holds what ended instances have cost by our meter against what their providers say to have billed, where they say it, and warns where
 * the two are more than one percent apart. It changes nothing: the consumer's bill is by the price that was agreed, and a cap is never
 * lowered by a bill that is not complete (CONF-C27). What was compared is remembered in memory only; after a restart it is compared anew.
 */
export function createChargeReconciliationController(deps: ChargeReconciliationDeps): Controller {
  const { sessions, costs, providers, clock, log, metrics, settings } = deps;
  const told = new Set<string>();

  /** By provider, those whose bill should be there and that have no verdict yet. */
  async function findEnded(now: EpochMs): Promise<ReadonlyMap<ProviderId, readonly Ended[]>> {
    const recent = new Map((await costs.segmentsIn({ from: now - WINDOW_MS, until: now })).map((each) => [keyOf(each), each]));
    for (const key of told) if (!recent.has(key)) told.delete(key);
    const ended = new Map<ProviderId, Ended[]>();
    for (const [key, segment] of recent) {
      if (told.has(key) || !providers.get(segment.provider)?.charges) continue;
      const { sessionId, ordinal, provider } = segment;
      const whole = (await costs.segmentsOf(sessionId)).filter((each) => keyOf(each) === key);
      const until = Math.max(...whole.map(({ toAt }) => toAt ?? Infinity));
      if (until > now - BILLED_AFTER_MS) continue;
      const attempt = (await sessions.find(sessionId))?.attempts.find((each) => each.ordinal === ordinal);
      if (!attempt?.instanceId) continue;
      const from = Math.min(...whole.map(({ fromAt }) => fromAt));
      const { consumerMicros, operatorMicros } = billOf(whole, from, until);
      const one = {
        key,
        sessionId,
        ordinal,
        instanceId: attempt.instanceId,
        from,
        until,
        oursMicros: consumerMicros + operatorMicros,
        priceMicrosPerHour: Math.max(...whole.map((each) => each.priceMicrosPerHour)),
      };
      ended.set(provider, [...(ended.get(provider) ?? []), one]);
    }
    return ended;
  }

  async function ask(provider: ProviderId, ended: readonly Ended[], signal: AbortSignal): Promise<ChargeListing | undefined> {
    const adapter = providers.get(provider);
    const from = Math.min(...ended.map((each) => each.from));
    try {
      const within = clock.timeoutSignal(settings.callTimeoutMs, signal);
      return await adapter?.charges?.({ from, until: clock.now() }, { signal: within });
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.info({ provider, kind: error.kind, error: describeError(error) }, 'charges of a provider could not be read');
      return undefined;
    }
  }

  function judge(provider: ProviderId, ended: Ended, { charges, roundingMicros }: ChargeListing, now: EpochMs): boolean {
    const own = charges.filter((charge) => isOf(charge, ended));
    const chargedMicros = own.reduce((sum, { amountMicros, transferMicros }) => sum + amountMicros - transferMicros, 0);
    const transferMicros = own.reduce((sum, each) => sum + each.transferMicros, 0);
    const { oursMicros, priceMicrosPerHour, sessionId, ordinal, instanceId } = ended;
    const endedAgoMs = now - ended.until;
    const verdict = judgeCharge({
      oursMicros,
      chargedMicros,
      rows: own.length,
      roundingMicros,
      priceMicrosPerHour,
      endedAgoMs,
    });
    if (verdict === 'awaited') return false;
    told.add(ended.key);
    metrics.chargeReconciled(provider, verdict);
    const figures = {
      provider,
      sessionId,
      ordinal,
      instanceId,
      verdict,
      oursUsd: toUsd(oursMicros),
      chargedUsd: toUsd(chargedMicros),
      transferUsd: toUsd(transferMicros),
    };
    if (verdict === 'matches') log.debug(figures, 'an instance has cost what its provider billed');
    else log.warn(figures, 'an instance has not cost what its provider billed');
    return true;
  }

  return {
    name: 'cost.reconciliation',
    periodMs: settings.periodMs,
    async reconcile({ signal }) {
      const now = clock.now();
      let examined = 0;
      let changed = 0;
      for (const [provider, ended] of await findEnded(now)) {
        examined += ended.length;
        const listing = await ask(provider, ended, signal);
        if (listing) changed += ended.filter((each) => judge(provider, each, listing, now)).length;
      }
      return { examined, changed, failed: 0, details: { awaited: examined - changed } };
    },
  };
}

function keyOf({ sessionId, ordinal }: Pick<BilledSegment, 'sessionId' | 'ordinal'>): string {
  return `${sessionId} ${ordinal}`;
}

/** A vendor may give an id anew: only what lies about its time is of the instance. */
function isOf(charge: Charge, { instanceId, from, until }: Ended): boolean {
  return charge.instanceId === instanceId && charge.from < until + HOUR_MS && charge.until > from - HOUR_MS;
}
