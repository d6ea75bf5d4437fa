import type { Ids } from '../core/ids.ts';
import { adoptInstance } from '../sessions/adoption.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { StepRules } from '../sessions/step-rules.ts';
import { nameOf } from './destroy-rounds.ts';
import { surveyInstances, taggedIn, type TaggedInstance } from './instance-survey.ts';
import { chooseInstances } from './recover-choice.ts';
import { complainOfUnlisted } from './recover-list.ts';
import { unknownOf, type RecoverModeDeps } from './recover-mode.ts';

export interface RecoverAdoptDeps extends Omit<RecoverModeDeps, 'sessions' | 'sightings' | 'recovery' | 'yes'> {
  readonly sessions: Pick<SessionRepository, 'find' | 'findByTag' | 'insertWhole'>;
  readonly ids: Pick<Ids, 'secret'>;
  readonly rules: StepRules;
  readonly instances: readonly string[];
  readonly all: boolean;
  readonly consumer: string;
  readonly keepMs: number;
  readonly hardMaxMs: number;
}

/** Makes rows for what has none, so that the broker watches, bills and ends it; hands back the exit code: 1 when something was not adopted. */
export async function recoverAdopt(deps: RecoverAdoptDeps): Promise<number> {
  const { instances, all, deployment, terminal } = deps;
  const surveys = await surveyInstances(deps);
  const isPartial = complainOfUnlisted(surveys, terminal);
  const choice = chooseInstances(taggedIn(surveys), { ids: instances, all, deployment });
  if (!choice.ok) {
    for (const fault of choice.faults) terminal.complain(`refused: ${fault}`);
    return 1;
  }
  const unknown = new Set(await unknownOf(choice.chosen, deps));
  let refused = 0;
  for (const found of choice.chosen) {
    const fault = unknown.has(found) ? await adopt(deps, found) : all ? undefined : 'the database knows it already';
    if (fault === undefined) continue;
    refused += 1;
    terminal.complain(`ERROR: ${nameOf(found)} was not adopted: ${fault}`);
  }
  terminal.say(`${unknown.size - refused} adopted`);
  if (unknown.size > refused)
    terminal.say(
      'The keys of an adopted instance were lost with its rows: whoever holds the private key can still log in, and the broker can neither prove nor hand out a way in',
    );
  return refused > 0 || isPartial ? 1 : 0;
}

/** Why not, or undefined. */
async function adopt(deps: RecoverAdoptDeps, found: TaggedInstance): Promise<string | undefined> {
  const { sessions, consumer, clock, terminal } = deps;
  const { sessionId } = found;
  const earlier = await sessions.find(sessionId);
  if (earlier)
    return `session ${sessionId} is in the database (${earlier.session.status}) with ${earlier.session.attemptCount} other attempts; destroy it, or end recovery mode`;
  const adopted = adoptInstance({ ...deps, ...found, consumerId: consumer, now: clock.now() });
  if (!(await sessions.insertWhole(adopted))) return `session ${sessionId} has appeared meanwhile`;
  const { session } = adopted;
  terminal.complain(
    session.desired === 'run'
      ? `${nameOf(found)}: adopted as ${sessionId} of ${consumer} until ${new Date(session.expiresAt).toISOString()}`
      : `${nameOf(found)}: adopted as ${sessionId} of ${consumer}; it is ${found.instance.state}, so the broker destroys it`,
  );
  return undefined;
}
