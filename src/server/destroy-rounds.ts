import { inParallel } from '../controllers/in-parallel.ts';
import type { Clock } from '../core/clock.ts';
import { SECOND_MS } from '../core/duration.ts';
import { describeError } from '../core/errors.ts';
import type { Absence } from '../db/tables.ts';
import type { InstanceId, ProviderId } from '../provider/ids.ts';
import type { Instance } from '../provider/instance.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';
import { isAbsent, withAbsence } from '../sessions/absence.ts';
import { surveyOf, type ProviderSurvey, type TaggedInstance } from './instance-survey.ts';

export interface DestroyRoundsDeps {
  readonly providers: ReadonlyMap<ProviderId, Provider>;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** When it is given up, milliseconds from now. */
  readonly forMs: number;
  /** Go on until absence is a verdict by the provider's own policy, which takes a cloud a quarter of an hour. */
  readonly verify: boolean;
  /** What else shall end when it is seen later: a create that landed late. */
  readonly isWanted: (found: TaggedInstance) => boolean;
  /** Told of each step. */
  readonly tell: (line: string) => void;
}

export interface Target {
  readonly found: TaggedInstance;
  /** The provider itself said gone, after a destroy. */
  saidGone: boolean;
  absences: readonly Absence[];
  /** And a later complete list lacked it; with `verify`, often enough and for long enough. */
  isDone: boolean;
  destroyAsked: boolean;
}

const CALLS_AT_ONCE = 8;
const FIRST_PAUSE_MS = SECOND_MS;
const LONGEST_PAUSE_MS = 15 * SECOND_MS;

/**
 * Destroys until each provider has said gone and a complete list that was asked for later lacks the instance (RULE-R8), or the time is over.
 * A list that lacks what nobody destroyed is not believed (RULE-R7); an id that has become another tag's is left alone (REL-B15).
 */
export async function destroyInRounds(
  first: readonly TaggedInstance[],
  surveys: readonly ProviderSurvey[],
  deps: DestroyRoundsDeps,
): Promise<readonly Target[]> {
  const { providers, clock, forMs, tell } = deps;
  const targets = first.map(targetOf);
  const doomed = new Set(first.map(nameOf));
  const bystanders = new Map<ProviderId, ReadonlySet<InstanceId>>();
  for (const survey of surveys) {
    if (!survey.isListed) continue;
    const others = survey.instances.filter((instance) => !doomed.has(nameOf({ provider: survey.id, instance })));
    bystanders.set(survey.id, new Set(others.map(({ id }) => id)));
  }
  const endsMs = clock.monotonicMs() + forMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    await inParallel(
      targets.filter((target) => !target.isDone && !target.saidGone),
      CALLS_AT_ONCE,
      (target) => ask(target, deps),
    );
    const open = new Set(targets.filter(({ isDone }) => !isDone).map(({ found }) => found.provider));
    for (const id of open) {
      const provider = providers.get(id);
      if (provider) await look(provider, targets, bystanders, deps);
    }
    if (targets.every(({ isDone }) => isDone)) return targets;
    if (clock.monotonicMs() + pauseMs > endsMs) {
      tell('the time is over');
      return targets;
    }
    await clock.sleep(pauseMs);
  }
}

function targetOf(found: TaggedInstance): Target {
  return { found, saidGone: false, absences: [], isDone: false, destroyAsked: false };
}

export const nameOf = ({ provider, instance }: Pick<TaggedInstance, 'provider' | 'instance'>) => `${provider}/${instance.id}`;

async function ask(target: Target, { providers, clock, callTimeoutMs, tell }: DestroyRoundsDeps): Promise<void> {
  const { found } = target;
  try {
    const provider = providers.get(found.provider);
    const result = await provider?.destroyInstance(found.instance.id, { signal: clock.timeoutSignal(callTimeoutMs) });
    if (result === 'gone') {
      target.saidGone = true;
      tell(`${nameOf(found)}: the provider says that it is gone`);
    } else if (!target.destroyAsked) tell(`${nameOf(found)}: destroy asked for`);
    target.destroyAsked = true;
  } catch (error) {
    tell(`${nameOf(found)}: destroy not confirmed, it is asked again (${wordsOf(error)})`);
  }
}

/** One complete list, asked for after the destroys, and what it says of each target there. */
async function look(
  provider: Provider,
  targets: Target[],
  bystanders: Map<ProviderId, ReadonlySet<InstanceId>>,
  deps: DestroyRoundsDeps,
): Promise<void> {
  const { clock, callTimeoutMs, isWanted, tell } = deps;
  const here = targets.filter(({ found }) => found.provider === provider.id);
  try {
    const instances = await provider.listInstances({ signal: clock.timeoutSignal(callTimeoutMs) });
    const { tagged } = surveyOf(provider.id, instances);
    const isTarget = ({ tag, instance }: TaggedInstance) =>
      here.some(({ found }) => found.tag === tag && found.instance.id === instance.id);
    const late = tagged.filter((found) => isWanted(found) && !isTarget(found));
    for (const found of late) {
      tell(`${nameOf(found)}: appeared meanwhile, and is destroyed too`);
      targets.push(targetOf(found));
    }
    const listed = new Set(instances.map(({ id }) => id));
    const suspect = await isSuspect(provider, listed, bystanders.get(provider.id) ?? new Set(), deps);
    const doomed = new Set([...here.map(({ found }) => found.instance.id), ...late.map(({ instance }) => instance.id)]);
    if (suspect) return tell(`${provider.id}: its list lacks an instance that exists: what else it lacks is not believed`);
    bystanders.set(provider.id, new Set([...listed].filter((id) => !doomed.has(id))));
    for (const target of here.filter(({ isDone }) => !isDone)) await judge(target, provider, instances, deps);
  } catch (error) {
    tell(`${provider.id}: could not be listed, it is asked again (${wordsOf(error)})`);
  }
}

/** Whether the list lacks what it had, and what the provider still answers for by its id (RULE-R7). */
async function isSuspect(
  provider: Provider,
  listed: ReadonlySet<InstanceId>,
  before: ReadonlySet<InstanceId>,
  { clock, callTimeoutMs }: DestroyRoundsDeps,
): Promise<boolean> {
  for (const id of before) {
    if (listed.has(id)) continue;
    if (await provider.getInstance(id, { signal: clock.timeoutSignal(callTimeoutMs) })) return true;
  }
  return false;
}

async function judge(
  target: Target,
  provider: Provider,
  instances: readonly Instance[],
  { clock, callTimeoutMs, verify, tell }: DestroyRoundsDeps,
): Promise<void> {
  const { instance, tag } = target.found;
  const policy = provider.capabilities.absence;
  const listed = instances.find(({ id }) => id === instance.id);
  const asked =
    listed === undefined && (verify || !target.saidGone)
      ? await provider.getInstance(instance.id, { signal: clock.timeoutSignal(callTimeoutMs) })
      : undefined;
  const seen = listed ?? asked;
  if (seen && (seen.tag === undefined || seen.tag === tag)) {
    if (target.saidGone) tell(`${nameOf(target.found)}: is still there, destroy is asked again`);
    target.saidGone = false;
    target.absences = [];
    return;
  }
  if (seen && !target.saidGone) {
    tell(`${nameOf(target.found)}: the id is another's by now, which is not touched`);
    target.saidGone = true; // ours is: an id is not given away before
  }
  for (const kind of ['get', 'list'] as const)
    target.absences = withAbsence(target.absences, { at: clock.now(), kind }, policy);
  const isVerdict = isAbsent({ absences: target.absences, policy, instanceIdKnown: true });
  target.isDone = isVerdict || (target.saidGone && !verify);
  if (target.isDone) tell(`${nameOf(target.found)}: ${isVerdict ? 'absent by verdict' : 'is not in a complete list any more'}`);
}

function wordsOf(error: unknown): string {
  return error instanceof ProviderError ? error.message : describeError(error);
}
