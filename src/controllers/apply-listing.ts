import type { Clock } from '../core/clock.ts';
import type { SessionId } from '../core/ids.ts';
import { msSince } from '../core/moment.ts';
import type { Attempt } from '../db/tables.ts';
import type { Instance } from '../provider/instance.ts';
import { isTwin, whoseIs } from '../sessions/sights.ts';
import type { SessionWriter } from '../sessions/session-writer.ts';
import type { Listing } from './observer.ts';

type Looked = Pick<
  Attempt,
  'sessionId' | 'ordinal' | 'tag' | 'instanceId' | 'instanceMadeAt' | 'state' | 'firstSeenAt' | 'goneAcceptedAt'
>;

/** What a complete list says of an attempt, as a fact. A suspect list that lacks it says nothing. */
export async function applyListing(
  writer: SessionWriter,
  attempt: Looked,
  listing: Listing,
  clock: Pick<Clock, 'monotonicMs' | 'machineNow'>,
): Promise<'seen' | 'missing' | 'nothing'> {
  const instance = instanceOf(attempt, listing.instances);
  const sessionId: SessionId = attempt.sessionId;
  if (instance) {
    await writer.apply(sessionId, { kind: 'seen', ordinal: attempt.ordinal, by: 'list', instance, askedAt: listing.startedAt });
    return 'seen';
  }
  if (listing.suspect) return 'nothing';
  const askedMsAgo = msSince(listing.began, clock);
  await writer.apply(sessionId, { kind: 'missing', ordinal: attempt.ordinal, by: 'list', askedMsAgo });
  return 'missing';
}

/** The instance of an attempt in a list: by its tag; by its id only while the tag is lost. Of twins, the one that is known. */
export function instanceOf(attempt: Looked, instances: readonly Instance[]): Instance | undefined {
  const tagged = instances.filter(({ tag }) => tag === attempt.tag);
  return (
    tagged.find((instance) => !isTwin(attempt, instance)) ??
    instances.find((instance) => instance.tag === undefined && whoseIs(attempt, instance) === 'ours')
  );
}
