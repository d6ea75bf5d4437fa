import type { Clock } from '../core/clock.ts';
import type { DatabaseLook } from '../db/database-look.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import { surveyInstances, type ProviderSurvey, type Surveyed } from './instance-survey.ts';
import { reportJson, reportText } from './recover-report.ts';
import type { Terminal } from './terminal.ts';

export interface RecoverListDeps {
  readonly providers: readonly Surveyed[];
  readonly look: DatabaseLook;
  readonly own: DeploymentId | undefined;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  readonly json: boolean;
  readonly terminal: Terminal;
}

/** Tells of everything that bears a tag of Berth; hands back the exit code: 1 when a provider could not be listed. */
export async function recoverList(deps: RecoverListDeps): Promise<number> {
  const { look, own, clock, json, terminal } = deps;
  const surveys = await surveyInstances(deps);
  const findings = { surveys, own, look, now: clock.now() };
  terminal.say(json ? JSON.stringify(reportJson(findings), undefined, 2) : reportText(findings));
  return complainOfUnlisted(surveys, terminal) ? 1 : 0;
}

/** Loudly, whatever else was said: what could not be listed is unknown, not none. True when there was any. */
export function complainOfUnlisted(surveys: readonly ProviderSurvey[], { complain }: Pick<Terminal, 'complain'>): boolean {
  const unlisted = surveys.filter((survey) => !survey.isListed);
  for (const { id, error } of unlisted)
    complain(`ERROR: ${id} could not be listed: ${error}. What it has is unknown and may cost money; mend that and ask again`);
  return unlisted.length > 0;
}
