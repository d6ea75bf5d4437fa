import type { Clock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import type { DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { AbsencePolicy } from '../../src/provider/capabilities.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { aroundEveryCall, type ProviderCall } from '../../src/provider/decorators/around.ts';
import { ProviderError, type ProviderErrorKind, type ProviderOperation } from '../../src/provider/provider-error.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { InMemoryAccount, MarketInstance } from '../support/in-memory-account.ts';
import { createInMemoryProvider } from '../support/in-memory-provider.ts';
import { createAccountFaults } from './account-faults.ts';
import type { Fate, FaultName, WorldPlan } from './faults.ts';
import type { Intents } from './intents.ts';
import type { Trace } from './trace.ts';

/** What logging in to an instance meets. */
export type SshFate = 'proves' | 'never' | 'other' | 'wrong-gpu';

/** What an instance has cost and will go through, beside what its market knows. */
interface Story {
  readonly instance: MarketInstance;
  /** Undefined for a stranger's. */
  readonly owner: DeploymentId | undefined;
  readonly bornAt: number;
  readonly sshFate: SshFate;
  /** Before it no destroy is taken. */
  readonly minimumUntil: number;
  /** Until then looks deny it although it lives. */
  deniedUntil: number;
  /** When a destroy was carried out, or it died. */
  endedAt: number | undefined;
  mostMicrosPerHour: MicroUsd;
  price: { readonly micros: MicroUsd; readonly from: number };
  readonly earlier: MicroUsd[];
}

export interface Lived {
  readonly bornAt: number;
  readonly endedAt: number | undefined;
  /** The highest that it ever cost. */
  readonly mostMicrosPerHour: MicroUsd;
}

/** One vendor's account, as hostile as the plan says, with the truth for those who judge. */
export interface Cloud {
  readonly id: string;
  readonly account: InMemoryAccount;
  /** As a broker's process of that deployment has it, bare. What it sends goes on when the process dies. */
  providerOf(deployment: DeploymentId): Provider;
  /** What must not be, and was: something of others destroyed, a create sent too late, a tag made twice. */
  readonly crimes: readonly string[];
  /** Instances of this deployment that exist now. */
  livingOf(deployment: DeploymentId): readonly MarketInstance[];
  isAlive(tag: string): boolean;
  /** What the vendor charges for everything that bears the tag, micro-dollars, until now. */
  invoice(tag: string): MicroUsd;
  /** What has been made under the tag, for those who judge its bill. */
  lives(tag: string): readonly Lived[];
  /** The tags of everything that was ever made for this deployment. */
  madeTags(deployment: DeploymentId): readonly string[];
  sshFateAt(port: number): { readonly isUp: boolean; readonly fate: SshFate };
  /** Faults that last are over; what was set in motion goes on. */
  heal(): void;
}

interface CloudDeps {
  readonly id: string;
  readonly clock: Clock;
  readonly plan: WorldPlan;
  readonly fate: Fate;
  readonly trace: Trace;
  /** Those that rent here; what belongs to anybody else is a stranger's. */
  readonly deployments: readonly DeploymentId[];
  readonly offers: readonly Offer[];
  readonly intents: Intents;
  /** Whether a broker has stored the id of its instance: what was never seen under its tag and loses it is nobody's (REL-A8). */
  readonly isKnownById: (id: InstanceId) => boolean;
}

/** As real clouds (architecture §9.3), but for the window. */
const absenceOver = (windowMs: number): AbsencePolicy => ({
  observations: 3,
  spacingMs: Math.min(MINUTE_MS, windowMs / 6),
  windowMs,
  kinds: ['get', 'list'],
});
/** By this share of the absence window a late create has landed. */
export const LANDED_BY = 0.8;
const REAL_WINDOW_MINUTES = 15;
const NEVER = new AbortController().signal;
const REFUSALS: readonly ProviderErrorKind[] = ['capacity', 'capacity', 'rate_limited', 'unavailable', 'funds', 'rejected'];

export function createCloud(deps: CloudDeps): Cloud {
  const { id, clock, plan, fate, trace, deployments, offers, intents, isKnownById } = deps;
  const { dice, strikes } = fate;
  const windowMs = plan.absenceMinutes * MINUTE_MS;
  /** What lasts so many minutes at a cloud whose absences take 15. */
  const scaled = (minutes: number) => (minutes * MINUTE_MS * plan.absenceMinutes) / REAL_WINDOW_MINUTES;
  const has = (name: FaultName) => plan.rates.has(name);
  const market = createInMemoryProvider({
    id,
    clock,
    offers,
    capabilities: { absence: absenceOver(windowMs), createTimeoutMs: MINUTE_MS, reusesIds: has('id.reused') },
    settings: {
      bootMs: dice.whole(5, 40) * SECOND_MS,
      listLagMs: has('list.lags') ? dice.whole(1, 40) * SECOND_MS : 0,
      listStaleMs: has('list.stale') ? dice.whole(5, 60) * SECOND_MS : 0,
      getLagMs: has('get.lags') ? dice.whole(1, 30) * SECOND_MS : 0,
      destroyMs: has('destroy.slow') ? dice.between(0.1, 2) * scaled(1) : 0,
    },
  });
  const { account } = market;
  for (const name of ['list.lags', 'list.stale', 'get.lags', 'destroy.slow'] as const) if (has(name)) fate.note(name);
  const stories = new Map<MarketInstance, Story>();
  const crimes: string[] = [];
  let known = 0;

  const storyOf = (instance: MarketInstance) => stories.get(instance);
  const latest = (instanceId: InstanceId) => account.all().findLast((instance) => instance.id === instanceId);

  /** Takes note of what has been made since the last look. */
  function noticeNew(owner: DeploymentId | undefined): void {
    for (const instance of account.all().slice(known)) {
      const bornAt = instance.existsAt;
      const story: Story = {
        instance,
        owner,
        bornAt,
        sshFate: !owner
          ? 'proves'
          : strikes('ssh.never')
            ? 'never'
            : strikes('ssh.other')
              ? 'other'
              : strikes('gpu.other')
                ? 'wrong-gpu'
                : 'proves',
        minimumUntil: owner && strikes('destroy.minimum') ? bornAt + scaled(dice.between(3, 20)) : 0,
        deniedUntil: 0,
        endedAt: undefined,
        mostMicrosPerHour: instance.priceMicrosPerHour,
        price: { micros: instance.priceMicrosPerHour, from: bornAt },
        earlier: [],
      };
      stories.set(instance, story);
      if (owner) void live(story);
    }
    known = account.all().length;
  }

  /** What befalls an instance by itself. */
  async function live({ instance, bornAt }: Story): Promise<void> {
    const isThere = () => instance.goneAt === undefined;
    await clock.sleep(bornAt - clock.monotonicMs());
    if (strikes('price.drifts')) reprice(instance, Math.round(instance.priceMicrosPerHour * dice.between(0.8, 1.4)));
    if (strikes('boot.stuck')) instance.word = 'loading';
    else if (strikes('boot.slow')) {
      instance.word = 'loading';
      await clock.sleep(scaled(dice.between(1, 8)));
      instance.word = undefined;
    }
    await clock.sleep(scaled(dice.between(0.5, 10)));
    if (!isThere()) return;
    // a database that has forgotten an id and a label that is lost: then nobody can tell whose it is
    if (!has('database.restored') && strikes('label.lost') && isKnownById(instance.id)) account.loseTag(instance.id);
    if (strikes('instance.vanishes')) {
      endStory(instance);
      account.vanish(instance.id);
    } else if (strikes('instance.breaks')) account.break(instance.id, 'the host has a fault');
    else if (strikes('instance.pauses')) {
      instance.word = 'parked';
      await clock.sleep(scaled(dice.between(1, 10)));
      instance.word = undefined;
    }
  }

  function reprice(instance: MarketInstance, micros: MicroUsd): void {
    const story = storyOf(instance);
    if (!story) return;
    const now = clock.monotonicMs();
    story.earlier.push((story.price.micros * Math.max(0, now - story.price.from)) / HOUR_MS);
    story.price = { micros, from: Math.max(now, story.bornAt) };
    story.mostMicrosPerHour = Math.max(story.mostMicrosPerHour, micros);
    instance.priceMicrosPerHour = micros;
  }

  /** Vendors charge until they have taken the destroy. */
  function endStory(instance: MarketInstance): void {
    const story = storyOf(instance);
    if (!story || story.endedAt !== undefined) return;
    story.endedAt = Math.max(clock.monotonicMs(), story.bornAt);
  }

  function costOf({ price, earlier, endedAt }: Story): MicroUsd {
    const until = endedAt ?? clock.monotonicMs();
    return earlier.reduce((sum, micros) => sum + micros, 0) + (price.micros * Math.max(0, until - price.from)) / HOUR_MS;
  }

  const refusal = (operation: ProviderOperation, kind: ProviderErrorKind, retryAfterMs?: number) =>
    new ProviderError({
      kind,
      provider: market.provider.id,
      operation,
      message: `${operation} at ${id}: the market says ${kind}`,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  const noAnswer = (operation: ProviderOperation) =>
    refusal(operation, operation === 'CreateInstance' ? 'ambiguous' : 'unavailable');

  const accountFaults = createAccountFaults({ clock, fate, plan, scaled, refusal });
  const { isIn } = accountFaults;

  /** The request has arrived at the vendor. */
  async function serve<Result>(deployment: DeploymentId, call: ProviderCall, proceed: () => Promise<Result>): Promise<Result> {
    const { operation } = call;
    const fault = accountFaults.on(operation);
    if (fault) throw fault;
    if (operation === 'CreateInstance') return create(deployment, call, proceed);
    if (operation === 'DestroyInstance') return destroy(deployment, call, proceed);
    if (operation === 'GetInstanceStatus') return look(call, proceed);
    return operation === 'ListAllInstances' ? list(proceed) : proceed();
  }

  async function create<Result>(deployment: DeploymentId, call: ProviderCall, proceed: () => Promise<Result>): Promise<Result> {
    const { operation, request } = call;
    if (request && account.createdTags().includes(request.tag) && !intents.mayComeAgain(request.tag))
      crimes.push(`a create was sent twice for ${request.tag}`);
    if (strikes('create.refused')) throw refusal(operation, dice.pick(REFUSALS), dice.chance(0.3) ? 5 * SECOND_MS : undefined);
    if (strikes('create.vanishes')) throw noAnswer(operation);
    if (strikes('create.late'))
      account.failNext(operation, { do: 'land-late', afterMs: Math.round(dice.between(5 * SECOND_MS, LANDED_BY * windowMs)) });
    try {
      const made = await proceed();
      if (strikes('create.lost')) throw noAnswer(operation);
      if (strikes('create.refused-but-done')) throw refusal(operation, 'capacity');
      if (strikes('create.mislabelled') && typeof made === 'object') return { ...made, tag: undefined };
      return made;
    } finally {
      noticeNew(deployment);
    }
  }

  async function destroy<Result>(
    deployment: DeploymentId,
    { operation, instanceId }: ProviderCall,
    proceed: () => Promise<Result>,
  ): Promise<Result> {
    const instance = instanceId && latest(instanceId);
    const story = instance && storyOf(instance);
    if (!instance || !story || !account.exists(instance)) return proceed();
    if (story.owner !== deployment)
      crimes.push(`${instance.id} of others (tag ${instance.tag}) was destroyed by ${deployment}`);
    if (strikes('destroy.fails')) throw refusal(operation, dice.pick(['unavailable', 'protocol', 'rejected']));
    if (clock.monotonicMs() < story.minimumUntil) throw refusal(operation, 'rejected');
    if (strikes('destroy.ignored')) account.failNext(operation, { do: 'ignore' });
    else if (strikes('destroy.claims-gone')) {
      story.deniedUntil = clock.monotonicMs() + scaled(dice.between(0.5, 5));
      account.failNext(operation, { do: 'claim-gone' });
    } else endStory(instance);
    const result = await proceed();
    if (instance.goneAt !== undefined && strikes('id.reused')) void giveIdAway(instance);
    if (strikes('destroy.lost')) throw noAnswer(operation);
    return result;
  }

  async function giveIdAway({ id: instanceId, goneAt = 0 }: MarketInstance): Promise<void> {
    await clock.sleep(goneAt - clock.monotonicMs() + dice.between(6, 12) * MINUTE_MS); // a destroy that is on its way cannot know better
    plantForeign(instanceId);
  }

  async function look<Result>({ operation, instanceId }: ProviderCall, proceed: () => Promise<Result>): Promise<Result> {
    if (strikes('get.fails')) throw refusal(operation, dice.pick(['unavailable', 'protocol']));
    const instance = instanceId && latest(instanceId);
    const isDenied = instance && clock.monotonicMs() < (storyOf(instance)?.deniedUntil ?? 0);
    if (instanceId && (isDenied === true || strikes('get.denies')))
      account.failNext(operation, { do: 'omit', ids: [instanceId] });
    return proceed();
  }

  async function list<Result>(proceed: () => Promise<Result>): Promise<Result> {
    const operation = 'ListAllInstances';
    if (strikes('list.fails')) throw refusal(operation, dice.pick(['unavailable', 'protocol']));
    if (isIn('list.empty', [0.5, 6]) || isIn('list.blind', [16, 24])) account.failNext(operation, { do: 'empty' });
    else if (strikes('list.partial'))
      account.failNext(operation, {
        do: 'omit',
        ids: account.living().flatMap(({ id: each }) => (dice.chance(0.5) ? [each] : [])),
      });
    else {
      const now = clock.monotonicMs();
      const denied = account.living().filter((instance) => now < (storyOf(instance)?.deniedUntil ?? 0));
      if (denied.length > 0) account.failNext(operation, { do: 'omit', ids: denied.map(({ id: each }) => each) });
    }
    return proceed();
  }

  function latencyMs(): number {
    return strikes('network.slow') ? dice.between(1, 60) * SECOND_MS : dice.between(20, 400);
  }

  const providerOf = (deployment: DeploymentId) =>
    aroundEveryCall(market.provider, async (call, proceed) => {
      const { operation, options, request, instanceId } = call;
      const { signal } = options;
      if (signal.aborted) throw refusal(operation, 'unavailable');
      const lateMs = request ? clock.monotonicMs() - intents.deadlineOf(request.tag) : 0;
      if (lateMs > 0) crimes.push(`a create was sent ${lateMs} ms after its deadline: ${request?.tag}`);
      const about = `${operation} ${request?.tag ?? instanceId ?? ''}`;
      trace.note(id, about, 'sent');
      /** It goes on whoever waits: a request that was sent is carried out. */
      const answer = (async () => {
        await clock.sleep(latencyMs());
        try {
          const result = await serve(deployment, call, () => proceed({ signal: NEVER }));
          trace.note(id, about, describeResult(result));
          await clock.sleep(latencyMs());
          return result;
        } catch (error) {
          trace.note(id, about, error instanceof ProviderError ? error.kind : String(error));
          await clock.sleep(latencyMs());
          throw error;
        }
      })();
      return unlessAborted(answer, signal, () => noAnswer(operation));
    });

  function plantForeign(instanceId?: InstanceId): void {
    const [deployment = ''] = deployments;
    const lookalikes = ['', `${deployment}x`, deployment.slice(0, -1), 'other'];
    const other = dice.pick(lookalikes);
    const tag = other === '' ? undefined : `berth-${other}-${'0'.repeat(26)}-1`;
    account.plant({ ...(tag === undefined ? {} : { tag }), ...(instanceId === undefined ? {} : { id: instanceId }) });
    noticeNew(undefined);
  }

  for (let planted = 0; planted < 3; planted += 1) plantForeign();

  const ours = () => [...stories.values()].filter(({ owner }) => owner !== undefined);
  return {
    id,
    account,
    providerOf,
    crimes,
    livingOf: (deployment) =>
      ours().flatMap(({ instance, owner }) => (owner === deployment && account.exists(instance) ? [instance] : [])),
    isAlive: (tag) => ours().some(({ instance }) => bears(instance, tag) && account.exists(instance)),
    invoice: (tag) => ours().reduce((sum, story) => sum + (bears(story.instance, tag) ? costOf(story) : 0), 0),
    lives: (tag) => ours().filter(({ instance }) => bears(instance, tag)),
    madeTags: (deployment) =>
      ours().flatMap(({ instance, owner }) => (owner === deployment ? (instance.request?.tag ?? []) : [])),
    sshFateAt(port) {
      const story = [...stories.values()].find(
        ({ instance: { ssh } }) => ssh.routes !== 'dial' && ssh.routes.some((route) => route.port === port),
      );
      const isUp = story !== undefined && account.exists(story.instance) && account.wordOf(story.instance) === 'up';
      return { isUp, fate: story?.sshFate ?? 'never' };
    },
    heal() {
      account.heal();
      accountFaults.end();
      Object.assign(account.settings, { listLagMs: 0, getLagMs: 0, listStaleMs: 0 });
      for (const story of stories.values()) story.deniedUntil = 0;
    },
  };
}

/** By what it was made with: labels get lost. */
function bears({ request }: MarketInstance, tag: string): boolean {
  return request?.tag === tag;
}

function describeResult(result: unknown): string {
  if (Array.isArray(result)) return `${result.length} rows`;
  if (typeof result === 'object' && result !== null && 'state' in result) return String(result.state);
  if (typeof result === 'string') return result;
  return result === undefined ? 'nothing' : 'done';
}

async function unlessAborted<Result>(answer: Promise<Result>, signal: AbortSignal, failure: () => Error): Promise<Result> {
  return new Promise<Result>((resolve, reject) => {
    const giveUp = () => reject(failure());
    signal.addEventListener('abort', giveUp, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}
