import type { Clock } from '../core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import type { CostRepository } from '../costs/cost-repository.ts';
import {
  judgeSpend,
  SPEND_WINDOW_MS,
  type AccountReading,
  type SpendState,
  type SpendVerdict,
} from '../costs/spend-verdict.ts';
import type { Attempt } from '../db/tables.ts';
import type { ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { parseOwnershipTag, type DeploymentId } from '../provider/ownership-tag.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { Controller } from './controller.ts';
import { inParallel } from './in-parallel.ts';
import type { Observer } from './observer.ts';

/** What was made of an account at the last look. */
export interface AccountSpend {
  readonly provider: ProviderId;
  readonly state: SpendState;
  /** Over the time that was compared; absent while there is none. */
  readonly microsPerHour?: { readonly expected: MicroUsd; readonly observed: MicroUsd };
}

export interface AccountSpendController extends Controller {
  /** Of each provider that tells its balance, once it was looked at. */
  spend(): readonly AccountSpend[];
}

interface AccountSpendDeps {
  readonly sessions: Pick<SessionRepository, 'findHeld'>;
  readonly costs: Pick<CostRepository, 'segmentsIn'>;
  readonly providers: ReadonlyMap<ProviderId, Pick<Provider, 'id' | 'balance'>>;
  readonly observer: Observer;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs' | 'timeoutSignal'>;
  readonly log: Log;
  readonly deploymentId: DeploymentId;
  readonly settings: { readonly periodMs: number; readonly callTimeoutMs: number };
}

interface Account {
  readings: readonly AccountReading[];
  verdict?: SpendVerdict;
  alarmedMs?: number;
}

/** A list that is older says too little of who spends now. */
const LIST_FRESH_MS = 30 * SECOND_MS;
/** Longer than the time that is compared, whatever passes are missed. */
const REMEMBERED_MS = 3 * SPEND_WINDOW_MS;
const ALARM_AGAIN_MS = HOUR_MS;
const ACCOUNTS_AT_ONCE = 100;

/**
 * Holds what each account's balance falls by against what all known instances cost in the same time (RULE-R13, REL-B16), where the provider
 * tells the balance. It changes nothing: it says so, loudly. What it has seen is in memory only; after a restart it begins to watch anew.
 */
export function createAccountSpendController(deps: AccountSpendDeps): AccountSpendController {
  const { providers, clock, log, settings } = deps;
  const accounts = new Map<ProviderId, Account>();

  function note(provider: ProviderId, account: Account, verdict: SpendVerdict): void {
    const before = account.verdict;
    account.verdict = verdict;
    const about = { provider, ...figuresOf(verdict), ...(verdict.why === undefined ? {} : { why: verdict.why }) };
    if (verdict.state === 'possible_leak') {
      const isDue = account.alarmedMs === undefined || clock.monotonicMs() - account.alarmedMs >= ALARM_AGAIN_MS;
      if (before?.state === 'possible_leak' && !isDue) return;
      account.alarmedMs = clock.monotonicMs();
      log.error(about, 'the account spends more than all known instances cost: something may be leaking');
    } else if (before?.state !== verdict.state || before.why !== verdict.why)
      log.info(about, 'the spend of the account was compared');
  }

  return {
    name: 'account.spend',
    periodMs: settings.periodMs,

    spend: () =>
      [...accounts].flatMap(([provider, { verdict }]) =>
        verdict ? [{ provider, state: verdict.state, ...rateOf(verdict) }] : [],
      ),

    async reconcile({ signal }) {
      const telling = [...providers.values()].filter(({ balance }) => balance !== undefined);
      const details: Record<string, string> = {};
      let changed = 0;
      let failed = 0;
      await inParallel(telling, ACCOUNTS_AT_ONCE, async (provider) => {
        const account = accounts.get(provider.id) ?? { readings: [] };
        accounts.set(provider.id, account);
        const before = account.verdict?.state;
        try {
          note(provider.id, account, await look(deps, provider, account, signal));
        } catch (error) {
          if (signal.aborted) return;
          failed += 1;
          const kind = error instanceof ProviderError ? error.kind : 'unforeseen';
          log.warn({ provider: provider.id, kind, error: describeError(error) }, 'the spend of the account could not be read');
          note(provider.id, account, { state: 'cannot_tell', why: 'unread' });
        }
        const { state, why } = account.verdict ?? {};
        if (state !== before) changed += 1;
        if (state !== undefined) details[provider.id] = why === undefined ? state : `${state}: ${why}`;
      });
      return { examined: telling.length, changed, failed, details };
    },
  };
}

/** One more reading, and what all of them say. */
async function look(
  deps: AccountSpendDeps,
  provider: Pick<Provider, 'id' | 'balance'>,
  account: Account,
  signal: AbortSignal,
): Promise<SpendVerdict> {
  const { sessions, costs, clock, settings } = deps;
  const others = await othersAt(deps, provider.id, signal);
  const balanceMicros = await provider.balance?.({ signal: clock.timeoutSignal(settings.callTimeoutMs, signal) });
  if (balanceMicros === undefined) throw new RangeError(`provider ${provider.id} tells no balance`);
  const reading = { at: clock.now(), monotonicMs: clock.monotonicMs(), balanceMicros, others };
  account.readings = [
    ...account.readings.filter(({ monotonicMs }) => reading.monotonicMs - monotonicMs <= REMEMBERED_MS),
    reading,
  ];
  const from = Math.min(...account.readings.map(({ at }) => at));
  // those of the future, too: they tell that the clock was set back
  const billed = await costs.segmentsIn({ from, until: Number.MAX_SAFE_INTEGER });
  const segments = billed.filter((segment) => segment.provider === provider.id);
  const unknown = (await sessions.findHeld(provider.id)).filter(({ state }) => state === 'unknown');
  return judgeSpend({
    readings: account.readings,
    segments,
    unknownMicrosPerHour: unknown.reduce((sum, { priceMicrosPerHour }) => sum + priceMicrosPerHour, 0),
  });
}

/** Who else spends there. An instance that lost its tag and is known by its id is ours. */
async function othersAt(
  { observer, sessions, clock, log, deploymentId }: AccountSpendDeps,
  provider: ProviderId,
  signal: AbortSignal,
): Promise<AccountReading['others']> {
  try {
    const { instances, suspect } = await observer.list(provider, {
      notBeforeMonotonicMs: clock.monotonicMs() - LIST_FRESH_MS,
      signal,
    });
    const held = await sessions.findHeld(provider);
    if (instances.some((instance) => isForeign(instance, held, deploymentId))) return 'foreign';
    return suspect ? 'unseen' : 'none';
  } catch (error) {
    if (signal.aborted || !(error instanceof ProviderError)) throw error;
    log.debug({ provider, kind: error.kind }, 'instances of the account could not be listed beside its balance');
    return 'unseen';
  }
}

function isForeign({ id, tag }: Instance, held: readonly Attempt[], deploymentId: DeploymentId): boolean {
  if (tag === undefined) return !held.some(({ instanceId }) => instanceId === id);
  return parseOwnershipTag(tag)?.deployment !== deploymentId;
}

function rateOf({ compared }: SpendVerdict): Pick<AccountSpend, 'microsPerHour'> {
  if (!compared) return {};
  const anHour = (micros: MicroUsd) => Math.round((micros * HOUR_MS) / compared.durationMs);
  return { microsPerHour: { expected: anHour(compared.expectedMicros), observed: anHour(compared.observedMicros) } };
}

function figuresOf(verdict: SpendVerdict) {
  const { microsPerHour } = rateOf(verdict);
  if (!microsPerHour || !verdict.compared) return {};
  return {
    expectedUsdPerHour: toUsd(microsPerHour.expected),
    observedUsdPerHour: toUsd(microsPerHour.observed),
    minutes: Math.round(verdict.compared.durationMs / MINUTE_MS),
  };
}
