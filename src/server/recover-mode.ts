import type { Clock } from '../core/clock.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import type { RecoveryMode } from '../sessions/recovery-mode.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import type { SightingRepository } from '../sessions/sighting-repository.ts';
import { nameOf } from './destroy-rounds.ts';
import { surveyInstances, taggedIn, type Surveyed, type TaggedInstance } from './instance-survey.ts';
import { complainOfUnlisted } from './recover-list.ts';
import { moneyOf } from './recover-report.ts';
import type { Terminal } from './terminal.ts';

export interface RecoverModeDeps {
  readonly providers: readonly Surveyed[];
  readonly sessions: Pick<SessionRepository, 'findByTag'>;
  readonly sightings: Pick<SightingRepository, 'saw'>;
  readonly recovery: RecoveryMode;
  readonly deployment: DeploymentId;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  readonly yes: boolean;
  readonly terminal: Terminal;
}

/** Begins recovery mode by a person's wish; hands back the exit code. */
export async function beginRecovery({ recovery, terminal }: Pick<RecoverModeDeps, 'recovery' | 'terminal'>): Promise<number> {
  const isNew = await recovery.begin('operator', 'berth recover --mode on');
  terminal.say(isNew ? 'recovery mode is on' : 'recovery mode was on already');
  return 0;
}

/**
 * Ends it once a person has been shown what the database does not know. Each of those is noted as seen, so that it is no evidence any more;
 * what is seen only later is. Refused while a provider cannot be listed: what it has could not be shown.
 */
export async function endRecovery(deps: RecoverModeDeps): Promise<number> {
  const { sightings, recovery, clock, terminal } = deps;
  const state = await recovery.read();
  const surveys = await surveyInstances(deps);
  if (complainOfUnlisted(surveys, terminal)) {
    terminal.complain('refused: a person has to see all that is unknown before recovery mode ends');
    return 1;
  }
  const unknown = await unknownOf(taggedIn(surveys), deps);
  terminal.complain(
    unknown.length === 0
      ? 'Nothing at the providers is unknown to the database'
      : `Unknown to the database, ${moneyOf(unknown)}; after the grace period the broker destroys them:`,
  );
  for (const found of unknown) terminal.complain(`  ${nameOf(found)} (${found.instance.state}, ${found.tag})`);
  if (unknown.length > 0 && !(await isAgreed(deps))) return 1;
  for (const { provider, instance, tag } of unknown)
    await sightings.saw({ provider, instanceId: instance.id, tag }, clock.now());
  await recovery.end('berth recover --mode off');
  terminal.say(state.isOn ? 'recovery mode is off' : 'recovery mode was off already; what is unknown is noted as seen');
  return 0;
}

/** What bears our tag and has no row. */
export async function unknownOf(
  tagged: readonly TaggedInstance[],
  { sessions, deployment }: Pick<RecoverModeDeps, 'sessions' | 'deployment'>,
): Promise<readonly TaggedInstance[]> {
  const unknown: TaggedInstance[] = [];
  for (const found of tagged)
    if (found.deployment === deployment && !(await sessions.findByTag(found.tag))) unknown.push(found);
  return unknown;
}

async function isAgreed({ deployment, yes, terminal }: RecoverModeDeps): Promise<boolean> {
  if (yes) return true;
  const answer = await terminal.ask('Type the deployment id to end recovery mode: ');
  if (answer?.trim() === deployment) return true;
  terminal.complain(
    answer === undefined
      ? 'refused: there is no terminal to ask at; a script says --yes'
      : 'refused: that is not the deployment id. Recovery mode stays as it is',
  );
  return false;
}
