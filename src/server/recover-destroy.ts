import { MINUTE_MS } from '../core/duration.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import { destroyInRounds, nameOf, type Target } from './destroy-rounds.ts';
import { surveyInstances, type TaggedInstance } from './instance-survey.ts';
import { chooseInstances } from './recover-choice.ts';
import { complainOfUnlisted, type RecoverListDeps } from './recover-list.ts';
import { moneyOf } from './recover-report.ts';

export interface RecoverDestroyDeps extends Omit<RecoverListDeps, 'own'> {
  /** Said by the person, never guessed. */
  readonly deployment: DeploymentId;
  readonly ids: readonly string[];
  readonly all: boolean;
  /** A script's word in place of a person's. */
  readonly yes: boolean;
  readonly verify: boolean;
  readonly forMs: number;
}

/** Destroys what a person named, once that person has said so; hands back the exit code: 1 when something remains, or may. */
export async function recoverDestroy(deps: RecoverDestroyDeps): Promise<number> {
  const { clock, deployment, all, json, terminal } = deps;
  const surveys = await surveyInstances(deps);
  const isPartial = complainOfUnlisted(surveys, terminal);
  const choice = chooseInstances(
    surveys.flatMap((survey) => (survey.isListed ? survey.tagged : [])),
    deps,
  );
  if (!choice.ok) {
    for (const fault of choice.faults) terminal.complain(`refused: ${fault}`);
    return 1;
  }
  const { chosen } = choice;
  if (chosen.length > 0 && !(await isAgreed(chosen, deps))) return 1;

  const targets = await destroyInRounds(chosen, surveys, {
    ...deps,
    providers: new Map(deps.providers.flatMap((provider) => ('fault' in provider ? [] : [[provider.id, provider] as const]))),
    isWanted: (found) => all && found.deployment === deployment,
    tell: terminal.complain,
  });
  const remaining = targets.filter(({ isDone }) => !isDone);
  if (json) terminal.say(JSON.stringify(outcomeJson(targets, { isPartial, now: clock.now() }), undefined, 2));
  else tellOutcome(targets, deps);
  for (const { found } of remaining)
    terminal.complain(`ERROR: ${nameOf(found)} REMAINS and may cost money; run this again, or look at the provider’s console`);
  if (isPartial && all) terminal.complain('ERROR: what the providers have that could not be listed REMAINS');
  return remaining.length > 0 || isPartial ? 1 : 0;
}

async function isAgreed(chosen: readonly TaggedInstance[], deps: RecoverDestroyDeps): Promise<boolean> {
  const { deployment, look, yes, terminal } = deps;
  terminal.complain(`To be destroyed, of deployment ${deployment}, ${moneyOf(chosen)}:`);
  for (const found of chosen) {
    const status = look.outcome === 'read' ? look.statusByTag.get(found.tag) : undefined;
    terminal.complain(
      `  ${nameOf(found)} (${found.instance.state}, ${found.tag}${status === undefined ? '' : `; its session is ${status} in the database`})`,
    );
  }
  if (yes) return true;
  const answer = await terminal.ask(`Type the deployment id to destroy ${chosen.length}: `);
  if (answer?.trim() === deployment) return true;
  terminal.complain(
    answer === undefined
      ? 'refused: there is no terminal to ask at; a script says --yes'
      : 'refused: that is not the deployment id. Nothing was destroyed',
  );
  return false;
}

function tellOutcome(targets: readonly Target[], { deployment, providers, verify, terminal }: RecoverDestroyDeps): void {
  const done = targets.filter(({ isDone }) => isDone);
  terminal.say(`${done.length} of ${targets.length} instances of deployment ${deployment} are gone`);
  if (verify || done.length === 0) return;
  const ids = new Set(done.map(({ found }) => found.provider));
  const windows = providers.flatMap((provider) => ('fault' in provider || !ids.has(provider.id) ? [] : [provider]));
  for (const { id, capabilities } of windows)
    terminal.say(
      `${id}: an absence there is believed after ${Math.ceil(capabilities.absence.windowMs / MINUTE_MS)} min; list again by then, or use --verify`,
    );
}

function outcomeJson(targets: readonly Target[], { isPartial, now }: { isPartial: boolean; now: number }) {
  const rowOf = ({ found, saidGone }: Target) => ({
    provider: found.provider,
    instance_id: found.instance.id,
    tag: found.tag,
    said_gone: saidGone,
  });
  return {
    ended_at: new Date(now).toISOString(),
    complete: !isPartial,
    destroyed: targets.filter(({ isDone }) => isDone).map(rowOf),
    remaining: targets.filter(({ isDone }) => !isDone).map(rowOf),
  };
}
