import { z } from 'zod';
import type { EpochMs } from '../../core/clock.ts';
import { needsTunnel, type SessionRecord } from '../../sessions/session-record.ts';
import { present } from '../present.ts';
import { wireTimeIfAny } from '../wire-time.ts';
import { time } from './wire-values.ts';

const CONDITIONS = [
  'created',
  'ready',
  'idle',
  'create_unknown',
  'tunnel_awaited',
  'destroy_unconfirmed',
  'destroy_accepted',
  'destroy_verified',
] as const;

export const ConditionBody = z
  .object({
    type: z
      .enum(CONDITIONS)
      .describe(
        'created: a provider accepted the create. ready: SSH is proven. idle: nobody uses it. create_unknown: nobody knows yet whether the create happened. tunnel_awaited: its machine can only be reached through a port of the broker, and none is free. destroy_unconfirmed: destroy is repeated until the provider says gone. destroy_accepted: the provider said gone. destroy_verified: still gone after the observation window.',
      ),
    since: time.optional(),
    message: z.string().optional(),
  })
  .meta({ id: 'Condition', description: 'Something that is true of a session now.' });

type Condition = z.infer<typeof ConditionBody>;

/** What is true of a session now and is no status of its own. */
export function conditionsOf({ session, attempts }: SessionRecord): Condition[] {
  const conditions: Condition[] = [];
  const add = (type: Condition['type'], since: EpochMs | null, message?: string) =>
    void conditions.push(present({ type, since: wireTimeIfAny(since), message }));

  const accepted = attempts.findLast(({ acceptedAt }) => acceptedAt !== null);
  if (accepted) add('created', accepted.acceptedAt);
  if (session.status === 'running') add('ready', session.runningAt);
  if (session.status === 'running' && session.idleSince !== null) add('idle', session.idleSince);
  for (const attempt of attempts) {
    const name = `attempt ${attempt.ordinal}`;
    if (attempt.state === 'unknown')
      add('create_unknown', attempt.intentAt, `${name}: looking for its tag at ${attempt.provider}`);
    if (attempt.state === 'live' && needsTunnel(attempt) && session.sshPort === null && session.error !== null)
      add('tunnel_awaited', null, `${name}: ${session.error}`);
    if (attempt.state === 'destroying')
      add('destroy_unconfirmed', attempt.destroyRequestedAt, `${name}: destroy was sent ${attempt.destroyTries} times so far`);
  }
  if (session.destroyAcceptedAt !== null) add('destroy_accepted', session.destroyAcceptedAt);
  if (session.destroyVerifiedAt !== null) add('destroy_verified', session.destroyVerifiedAt);
  return conditions;
}
