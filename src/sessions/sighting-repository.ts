import { and, desc, eq, gte, isNull, like, lt, sql } from 'drizzle-orm';
import type { EpochMs } from '../core/clock.ts';
import { everyColumn, statement } from '../db/statement.ts';
import type { Store } from '../db/store.ts';
import type { Observation, Stray } from '../db/tables.ts';
import type { InstanceId, ProviderId } from '../provider/ids.ts';
import { ownershipTag, parseOwnershipTag, type TagParts } from '../provider/ownership-tag.ts';

/** What was seen at providers: lists as they answered, and instances under our tag that no row knows. */
export function createSightingRepository(store: Store) {
  const { strays, observations } = store.tables;

  const upsert = statement('stray.upsert', (query, values: Stray) =>
    query
      .insert(strays)
      .values(everyColumn(strays, values))
      .onConflictDoUpdate({
        target: [strays.provider, strays.instanceId],
        set: { lastSeenAt: values.lastSeenAt, sightings: sql`${strays.sightings} + 1`, goneAt: null, tag: values.tag },
      })
      .returning(),
  );
  const mark = statement(
    'stray.mark-destroyed',
    (query, values: { provider: ProviderId; instanceId: InstanceId; destroyRequestedAt: EpochMs }) =>
      query
        .update(strays)
        .set({ destroyRequestedAt: values.destroyRequestedAt })
        .where(and(eq(strays.provider, values.provider), eq(strays.instanceId, values.instanceId)))
        .returning({ one: sql`1` }),
  );
  const markGone = statement('stray.mark-gone', (query, values: { provider: ProviderId; before: EpochMs; goneAt: EpochMs }) =>
    query
      .update(strays)
      .set({ goneAt: values.goneAt })
      .where(and(eq(strays.provider, values.provider), isNull(strays.goneAt), lt(strays.lastSeenAt, values.before)))
      .returning(),
  );
  const deleteGone = statement('stray.delete-gone', (query, values: { before: EpochMs }) =>
    query
      .delete(strays)
      .where(lt(strays.goneAt, values.before))
      .returning({ one: sql`1` }),
  );
  const countAlive = statement('stray.count-alive', (query) =>
    query
      .select({
        provider: strays.provider,
        count: sql`count(*)`.mapWith(Number),
        firstSeenAt: sql`min(${strays.firstSeenAt})`.mapWith(Number),
      })
      .from(strays)
      .where(isNull(strays.goneAt))
      .groupBy(strays.provider),
  );
  const findTags = statement('stray.find-tags', (query, values: { pattern: string }) =>
    query.select({ tag: strays.tag }).from(strays).where(like(strays.tag, values.pattern)),
  );
  const record = statement('observation.record', (query, values: Observation) =>
    query
      .insert(observations)
      .values(everyColumn(observations, values))
      .onConflictDoNothing({ target: [observations.provider, observations.at] })
      .returning({ at: observations.at }),
  );
  const lastBelieved = statement('observation.last-believed', (query, values: { provider: ProviderId; since: EpochMs }) =>
    query
      .select({ strangers: observations.strangers })
      .from(observations)
      .where(
        and(
          eq(observations.provider, values.provider),
          gte(observations.at, values.since),
          eq(observations.complete, true),
          eq(observations.suspect, false),
        ),
      )
      .orderBy(desc(observations.at))
      .limit(1),
  );
  const prune = statement('observation.prune', (query, values: { before: EpochMs }) =>
    query.delete(observations).where(lt(observations.at, values.before)).returning({ at: observations.at }),
  );

  return {
    /** Counts a sighting; hands back what is known of it. */
    async saw(sighting: Pick<Stray, 'provider' | 'instanceId' | 'tag'>, at: EpochMs): Promise<Stray> {
      const [stray] = await store.write(() =>
        upsert({ ...sighting, firstSeenAt: at, lastSeenAt: at, sightings: 1, destroyRequestedAt: null, goneAt: null }),
      );
      if (!stray) throw new Error('an upsert hands back its row');
      return stray;
    },
    async markDestroyRequested(stray: Pick<Stray, 'provider' | 'instanceId'>, at: EpochMs): Promise<void> {
      await store.write(() => mark({ provider: stray.provider, instanceId: stray.instanceId, destroyRequestedAt: at }));
    },
    /** Those that a complete list of `provider` no longer shows; handed back once. */
    markGone: (provider: ProviderId, listedAt: EpochMs): Promise<Stray[]> =>
      store.write(() => markGone({ provider, before: listedAt, goneAt: listedAt })),
    /** Those that are not known to be gone, and when the oldest of them was first seen. */
    countAlive: (): Promise<{ provider: ProviderId; count: number; firstSeenAt: EpochMs }[]> => store.read(countAlive({})),
    /** Ordinals of attempts of a session that a database which was lost had begun: their instances were seen, and no row knows them. */
    async lostOrdinals(session: Omit<TagParts, 'ordinal'>): Promise<number[]> {
      const first = ownershipTag({ ...session, ordinal: 1 });
      const found = await store.read(findTags({ pattern: `${first.slice(0, -1)}%` }));
      return found.flatMap(({ tag }) => parseOwnershipTag(tag)?.ordinal ?? []);
    },
    async pruneStrays(before: EpochMs): Promise<number> {
      return (await store.write(() => deleteGone({ before }))).length;
    },
    async record(observation: Observation): Promise<void> {
      await store.write(() => record(observation));
    },
    /** How many instances of others the last list showed that could be believed; 0 where there was none since then. */
    async strangersSince(provider: ProviderId, since: EpochMs): Promise<number> {
      const [last] = await store.read(lastBelieved({ provider, since }));
      return last?.strangers ?? 0;
    },
    async pruneObservations(before: EpochMs): Promise<number> {
      return (await store.write(() => prune({ before }))).length;
    },
  };
}

export type SightingRepository = ReturnType<typeof createSightingRepository>;
