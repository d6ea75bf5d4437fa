import type { EpochMs } from '../core/clock.ts';
import { formatDuration } from '../core/duration.ts';
import { toUsd } from '../core/money.ts';
import { plainLine } from '../core/text.ts';
import type { DatabaseLook } from '../db/database-look.ts';
import type { DeploymentId } from '../provider/ownership-tag.ts';
import { bornAt, priceOf, taggedIn, type ProviderSurvey, type TaggedInstance } from './instance-survey.ts';

export interface RecoverFindings {
  readonly surveys: readonly ProviderSurvey[];
  /** Which of the tags are this installation's; undefined when nobody can tell. */
  readonly own: DeploymentId | undefined;
  readonly look: DatabaseLook;
  readonly now: EpochMs;
}

interface DeploymentGroup {
  readonly deployment: DeploymentId;
  readonly instances: readonly TaggedInstance[];
}

/** For people: a block for each deployment, ours first, then what was asked, then the sum. */
export function reportText(findings: RecoverFindings): string {
  const { surveys } = findings;
  const lines: string[] = [];
  for (const group of groupsOf(findings)) lines.push(...blockOf(group, findings), '');
  for (const survey of surveys)
    lines.push(
      survey.isListed
        ? `${survey.id}: listed, ${survey.tagged.length} with a tag of Berth, ${survey.untagged} without (somebody else's, never touched)`
        : `${survey.id}: NOT LISTED: what it has is unknown (${survey.error})`,
    );
  lines.push(totalLine(surveys));
  return lines.join('\n');
}

function totalLine(surveys: readonly ProviderSurvey[]): string {
  const all = taggedIn(surveys);
  const missing = surveys.filter(({ isListed }) => !isListed).length;
  const atLeast = missing > 0 || priceOf(all).unpriced > 0 ? 'at least ' : '';
  return `total: ${atLeast}${countOf(all.length)}, ${moneyOf(all)}${missing > 0 ? `; ${missing} of ${surveys.length} providers could not be listed` : ''}`;
}

function blockOf({ deployment, instances }: DeploymentGroup, { own, look, now }: RecoverFindings): string[] {
  const title = deployment === own ? 'this installation' : own === undefined ? 'whose is not known' : 'other deployment';
  const rows = instances.map(({ provider, instance, sessionId, ordinal, tag }) => [
    provider,
    plainLine(instance.id),
    instance.state,
    instance.priceMicrosPerHour === undefined ? 'unknown' : String(toUsd(instance.priceMicrosPerHour)),
    formatDuration(Math.max(0, now - bornAt({ instance, sessionId }))),
    `${sessionId}/${ordinal}`,
    knownAs(look, tag),
  ]);
  const table = [['PROVIDER', 'INSTANCE', 'STATE', 'USD/H', 'AGE', 'SESSION/ATTEMPT', 'DATABASE'], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  return [
    `deployment ${deployment} (${title}): ${countOf(instances.length)}, ${moneyOf(instances)}`,
    ...table.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd()),
  ];
}

function knownAs(look: DatabaseLook, tag: string): string {
  if (look.outcome !== 'read') return '?';
  return look.statusByTag.get(tag) ?? 'no row';
}

function countOf(count: number): string {
  return `${count} instance${count === 1 ? '' : 's'}`;
}

export function moneyOf(instances: readonly TaggedInstance[]): string {
  const { microsPerHour, unpriced } = priceOf(instances);
  return `${toUsd(microsPerHour)} USD an hour${unpriced > 0 ? ` and what ${unpriced} without a price cost` : ''}`;
}

/** The same for programs; one object, its fields are a promise. */
export function reportJson(findings: RecoverFindings) {
  const { surveys, own, look, now } = findings;
  return {
    listed_at: new Date(now).toISOString(),
    complete: surveys.every(({ isListed }) => isListed),
    own_deployment: own ?? null,
    database: look.outcome,
    ...(look.outcome === 'unreadable' ? { database_error: look.reason } : {}),
    deployments: groupsOf(findings).map(({ deployment, instances }) => ({
      deployment,
      own: deployment === own,
      ...pricesJson(instances),
      instances: instances.map((found) => instanceJson(found, findings)),
    })),
    providers: surveys.map((survey) =>
      survey.isListed
        ? { id: survey.id, listed: true, tagged: survey.tagged.length, untagged: survey.untagged }
        : { id: survey.id, listed: false, error: survey.error },
    ),
    ...pricesJson(taggedIn(surveys)),
  };
}

function pricesJson(instances: readonly TaggedInstance[]) {
  const { microsPerHour, unpriced } = priceOf(instances);
  return { count: instances.length, price_per_hour: toUsd(microsPerHour), unpriced };
}

function instanceJson(found: TaggedInstance, { look, now }: RecoverFindings) {
  const { provider, instance, tag, sessionId, ordinal } = found;
  return {
    provider,
    instance_id: instance.id,
    tag,
    session_id: sessionId,
    attempt: ordinal,
    state: instance.state,
    price_per_hour: instance.priceMicrosPerHour === undefined ? null : toUsd(instance.priceMicrosPerHour),
    born_at: new Date(bornAt(found)).toISOString(),
    age_seconds: Math.max(0, Math.round((now - bornAt(found)) / 1_000)),
    session_status: look.outcome === 'read' ? (look.statusByTag.get(tag) ?? null) : null,
  };
}

/** Ours first, then by their ids; within one the oldest first. */
function groupsOf({ surveys, own }: RecoverFindings): readonly DeploymentGroup[] {
  const groups = new Map<DeploymentId, TaggedInstance[]>();
  for (const found of taggedIn(surveys)) {
    const group = groups.get(found.deployment);
    if (group) group.push(found);
    else groups.set(found.deployment, [found]);
  }
  return [...groups]
    .toSorted(([one], [other]) => Number(other === own) - Number(one === own) || (one < other ? -1 : 1))
    .map(([deployment, instances]) => ({
      deployment,
      instances: instances.toSorted((one, other) => bornAt(one) - bornAt(other)),
    }));
}
