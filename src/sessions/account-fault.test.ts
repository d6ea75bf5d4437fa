import { describe, expect, it } from 'vitest';
import type { Instance } from '../provider/instance.ts';
import type { Fact } from './fact.ts';
import { anInstance, aSession, runningStory, storyAt } from './fixtures/session-records.ts';

const ranDry: Instance = {
  ...anInstance('starting'),
  state: 'failed',
  reason: 'the account has run out of credit',
  fault: 'funds',
};
const seen: Fact = { kind: 'seen', ordinal: 1, by: 'list', instance: ranDry };

describe('PEER-11.2.19: an instance that the provider stopped because the account ran dry', () => {
  it('ends its session for that, and tells nothing against the machine', () => {
    const story = runningStory().tell(seen);

    expect(story.session).toMatchObject({ status: 'stopping', reason: 'provider_funds' });
    expect(story.session.error).toContain('run out of credit');
    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'provider_funds' });
    expect(story.transitions.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('gives way to another offer while it boots, where the choice was left to the broker', () => {
    const { offerId: _, ...request } = aSession().request;
    const story = storyAt('live', { request }).tell(seen);

    expect(story.session).toMatchObject({ status: 'provisioning', phase: 'retrying' });
    expect(story.attempt().outcome).toBe('provider_funds');
  });

  it('is no lost create, when an unknown create is found so', () => {
    const story = storyAt('unknown').tell(seen);

    expect(story.attempt()).toMatchObject({ state: 'destroying', outcome: 'provider_funds' });
    expect(story.transitions.flatMap(({ failures }) => failures)).toEqual([]);
  });
});
