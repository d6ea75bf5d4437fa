import type { SessionRecord } from './session-record.ts';
import { isEnded, isHopeful, mayExist } from './session-state.ts';

/** What must be true of every session that is written; the sentence names what is not (RULE-R16). */
export function brokenInvariants({ session, attempts }: SessionRecord): string[] {
  const broken: string[] = [];
  const must = (holds: boolean, sentence: string) => void (holds || broken.push(sentence));

  must(attempts.filter(isHopeful).length <= 1, 'a session has at most one open attempt');
  must(attempts.length === session.attemptCount, 'attempts are counted');
  must(
    attempts.every(({ ordinal }, index) => ordinal > (attempts[index - 1]?.ordinal ?? 0)),
    'attempts are numbered in their order',
  );
  must(
    !isEnded(session) || attempts.every(({ state, goneAcceptedAt }) => !mayExist(state) || goneAcceptedAt !== null),
    'an end status means that the provider said gone of everything',
  );
  must(
    (session.desired === 'gone') === (isEnded(session) || session.status === 'stopping'),
    'a session is stopping or ended exactly when it is not wanted any more',
  );
  must(
    session.desired === 'run' || attempts.every(({ state }) => state !== 'live'),
    'an unwanted session keeps no instance alive',
  );
  must(isEnded(session) === (session.stoppedAt !== null), 'an end has its time, and only an end');
  must(session.desired === 'run' || session.reason !== null, 'an unwanted session says why');
  must(session.status !== 'running' || attempts.some(({ state }) => state === 'live'), 'a running session has a live attempt');
  must(session.expiresAt <= session.hardDeadlineAt, 'the expiry lies before the hard maximum');
  must(
    attempts.every(({ state, instanceId }) => state !== 'live' || instanceId !== null),
    'a live attempt knows its instance',
  );
  must(
    attempts.every(({ state, billingSince }) => (state !== 'gone' && state !== 'verifying') || billingSince === null),
    'nothing is billed that is gone',
  );
  must(
    session.destroyVerifiedAt === null || attempts.every(({ state }) => state === 'gone'),
    'verified means that every attempt is gone by verdict',
  );
  return broken;
}
