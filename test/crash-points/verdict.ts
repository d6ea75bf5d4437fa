import { expect } from 'vitest';
import { HOUR_MS } from '../../src/core/duration.ts';
import type { SessionId } from '../../src/core/ids.ts';
import { billOf } from '../../src/costs/bill.ts';
import { createCostRepository, type CostRepository } from '../../src/costs/cost-repository.ts';
import { statement } from '../../src/db/statement.ts';
import type { Store } from '../../src/db/store.ts';
import { parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import { isAbsent } from '../../src/sessions/absence.ts';
import { brokenInvariants } from '../../src/sessions/invariants.ts';
import { isEnded, isHopeful } from '../../src/sessions/session-state.ts';
import type { MarketInstance } from '../support/in-memory-account.ts';
import { DOWN_MS, type Stage } from './stage.ts';
import type { Story } from './story.ts';

/** What a create takes is billed from its answer. */
const UNSEEN_MS = 150;
/** A destroy whose answer was lost with the process is asked for again, and the bill goes on until then. */
const UNSEEN_BY_DEATH_MS = DOWN_MS + 1_500;

/** What must be true at the end of every story, whatever it tells and wherever the broker died. */
export async function judge(story: Story, stage: Stage, store: Store): Promise<void> {
  const { world, account, acknowledged } = stage;
  await stage.until('the broker is up', () => true); // the last thing that it did may have been its death
  const costs = createCostRepository(store);
  const rows = await readRows(store);

  expect(rows.sessions.map(({ id }) => id).toSorted(), 'what was acknowledged is stored, once, and nothing else').toEqual(
    [...acknowledged.keys()].toSorted(),
  );
  for (const [id, { stopped, expiresAt }] of acknowledged) {
    const { session, attempts } = await world.record(id);
    expect(brokenInvariants({ session, attempts })).toEqual([]);
    if (stopped) expect(session.desired, 'an acknowledged stop is kept').toBe('gone');
    expect(session.expiresAt, 'an acknowledged expiry is kept').toBeGreaterThanOrEqual(expiresAt);
    const isSettled = session.phase === 'settled' && session.settledCostMicros !== null;
    expect(session.status === 'running' || isSettled, `running or settled, not ${session.status}, ${session.phase}`).toBe(true);
    const made = attempts.filter(({ instanceId }) => instanceId !== null);
    expect(
      made.length === 0 || !isEnded(session) || session.destroyVerifiedAt !== null,
      'what was made is verified as gone',
    ).toBe(true);

    for (const { provider, state, goneVerifiedAt, absences, instanceId } of attempts) {
      const policy = world.replica.providers.get(provider)?.capabilities.absence;
      if (state !== 'gone' || goneVerifiedAt === null || !policy) continue;
      expect(isAbsent({ absences, policy, instanceIdKnown: instanceId !== null }), 'verified only by verdict').toBe(true);
    }

    const kinds = await world.eventKinds(id);
    const ends = kinds.filter((kind) => kind === 'session.stopped' || kind === 'session.failed');
    expect(ends, 'an end is told once').toHaveLength(isEnded(session) ? 1 : 0);
    expect(kinds.filter((kind) => kind === 'session.requested')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'session.settled')).toHaveLength(isSettled ? 1 : 0);

    const hopeful = attempts.filter(isHopeful).map(({ probeSecretId }) => probeSecretId);
    const probes = rows.secrets.filter((secret) => secret.sessionId === id && secret.purpose === 'probe_key');
    const watched = session.idleThresholdMinutes > 0 && session.status === 'running';
    expect(
      probes.map((secret) => secret.id),
      'probe keys are shredded',
    ).toEqual(watched ? hopeful : []);

    const claims = rows.claims.filter((claim) => claim.sessionId === id).map((claim) => claim.offerId);
    expect(claims, 'claims are released with the end').toEqual(isEnded(session) ? [] : [session.offerId]);
    await judgeBill(story, stage, { id, costs });
  }

  const tags = account.createdTags().filter((tag) => tag !== undefined);
  expect(new Set(tags).size, `no tag is created twice: ${tags.join(' ')}`).toBe(tags.length);
  const owned = new Set<string>();
  for (const id of acknowledged.keys())
    for (const attempt of await stage.attempts(id))
      if (attempt.state === 'live') owned.add(`${attempt.tag} ${attempt.instanceId}`);
  const ours = account
    .living()
    .filter(({ request, tag }) => parseOwnershipTag(tag ?? request?.tag ?? '')?.deployment === world.deploymentId);
  expect(
    ours.map(({ id, tag, request }) => `${tag ?? request?.tag} ${id}`).toSorted(),
    'what lives is what open sessions own',
  ).toEqual([...owned].toSorted());

  const errors = world.log.entries.filter(({ level, message }) => level === 'error' && !story.errors?.includes(message));
  expect(errors, 'nothing went wrong inside').toEqual([]);
  expect(world.log.entries.filter(({ fields }) => JSON.stringify(fields).includes('would break'))).toEqual([]);
}

async function judgeBill(story: Story, stage: Stage, { id, costs }: { id: SessionId; costs: CostRepository }): Promise<void> {
  const { world, account, effects } = stage;
  const { session, attempts } = await world.record(id);
  const { now, nowMs } = { now: world.clock.now(), nowMs: world.clock.monotonicMs() };
  const tags = new Set<string>(attempts.map(({ tag }) => tag));
  const ids = new Set(attempts.map(({ instanceId }) => instanceId));
  // what was planted is nobody's create, but what came back under a tag of ours is paid for
  const isTheirs = ({ request, tag = '', id: machine }: MarketInstance) =>
    tags.has(request ? request.tag : tag) && (request !== undefined || ids.has(machine));
  const made = account.all().filter((machine) => isTheirs(machine) && machine.existsAt <= nowMs);
  const cost = (priceMicrosPerHour: number, ms: number) => (priceMicrosPerHour * ms) / HOUR_MS;
  const truth = made
    .map(({ priceMicrosPerHour, existsAt, goneAt }) => cost(priceMicrosPerHour, Math.min(goneAt ?? nowMs, nowMs) - existsAt))
    .reduce((sum, each) => sum + each, 0);
  const segments = await costs.segmentsOf(id);
  const booked = segments
    .map(({ priceMicrosPerHour, fromAt, toAt }) => cost(priceMicrosPerHour, (toAt ?? now) - fromAt))
    .reduce((sum, each) => sum + each, 0);
  const unseenMs = (story.unseenMs ?? UNSEEN_MS * made.length) + (effects.hasStruck ? UNSEEN_BY_DEATH_MS : 0);
  const dearest = Math.max(0, ...made.map(({ priceMicrosPerHour }) => priceMicrosPerHour));
  const missedMs = dearest === 0 ? booked : ((booked - truth) / dearest) * HOUR_MS;
  expect(
    Math.abs(missedMs),
    `booked ${Math.round(booked)}, the market's truth is ${Math.round(truth)} micro-dollars: ${Math.round(missedMs)} ms`,
  ).toBeLessThanOrEqual(unseenMs);

  if (session.settledCostMicros === null) return;
  expect(
    segments.every(({ toAt }) => toAt !== null),
    'a settled bill is closed',
  ).toBe(true);
  expect(session.settledCostMicros).toBe(billOf(segments, 0, now).consumerMicros);
}

/** The tables as they are, past every scope of the repositories. */
async function readRows(store: Store) {
  const { sessions, secrets, claims } = store.tables;
  const [all, keys, taken] = [
    statement('verdict.sessions', (query) => query.select().from(sessions)),
    statement('verdict.secrets', (query) => query.select().from(secrets)),
    statement('verdict.claims', (query) => query.select().from(claims)),
  ];
  return { sessions: await store.read(all({})), secrets: await store.read(keys({})), claims: await store.read(taken({})) };
}
