import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createInMemoryProvider } from '../../test/support/in-memory-provider.ts';
import { aTag } from '../../test/support/provider-calls.ts';
import { HOUR_MS } from '../core/duration.ts';
import type { DatabaseLook } from '../db/database-look.ts';
import { providerId } from '../provider/ids.ts';
import { parseDeploymentId } from '../provider/ownership-tag.ts';
import type { Surveyed } from './instance-survey.ts';
import { recoverList } from './recover-list.ts';

const ABSENT: DatabaseLook = { outcome: 'absent' };

function aScene({ look = ABSENT, own = 'test', json = false } = {}) {
  const clock = new FakeClock();
  const markets = ['one', 'two'].map((id) => createInMemoryProvider({ clock, id }));
  const said: string[] = [];
  const complained: string[] = [];
  const list = (providers: readonly Surveyed[] = markets.map(({ provider }) => provider)) =>
    recoverList({
      providers,
      look,
      own: parseDeploymentId(own),
      clock,
      callTimeoutMs: 1_000,
      json,
      terminal: { say: (line) => said.push(line), complain: (line) => complained.push(line), ask: async () => undefined },
    });
  const [one, two] = markets.map(({ account }) => account);
  if (!one || !two) throw new Error('there are two markets');
  return { clock, one, two, list, text: () => said.join('\n'), complaints: () => complained.join('\n') };
}

describe('berth recover', () => {
  it('shows every instance with a tag, by deployment, ours first, with state, price and age, and what all of it costs', async () => {
    const { clock, one, two, list, text, complaints } = aScene();
    one.plant({ tag: aTag(1) });
    one.plant({ tag: aTag(2, { deployment: 'other1' }) });
    one.plant({ tag: 'my-machine' });
    two.plant({ tag: aTag(3, { ordinal: 2 }) });
    two.plant();
    await clock.advance(2 * HOUR_MS);

    const code = await list();

    expect(code).toBe(0);
    expect(complaints()).toBe('');
    expect(text()).toMatchInlineSnapshot(`
      "deployment test (this installation): 2 instances, 1 USD an hour
        PROVIDER  INSTANCE  STATE    USD/H  AGE    SESSION/ATTEMPT                   DATABASE
        one       i-1       running  0.5    2h 0m  ses_00000000000000000000000001/1  ?
        two       i-1       running  0.5    2h 0m  ses_00000000000000000000000003/2  ?

      deployment other1 (other deployment): 1 instance, 0.5 USD an hour
        PROVIDER  INSTANCE  STATE    USD/H  AGE    SESSION/ATTEMPT                   DATABASE
        one       i-2       running  0.5    2h 0m  ses_00000000000000000000000002/1  ?

      one: listed, 2 with a tag of Berth, 1 without (somebody else's, never touched)
      two: listed, 1 with a tag of Berth, 1 without (somebody else's, never touched)
      total: 3 instances, 1.5 USD an hour"
    `);
  });

  it('says loudly that a provider could not be listed, and never that it has none', async () => {
    const { one, two, list, text, complaints } = aScene();
    one.failAlways('ListAllInstances', { do: 'fail', kind: 'auth' });
    two.plant({ tag: aTag(3) });

    const code = await list();

    expect(code).toBe(1);
    expect(complaints()).toMatch(/ERROR: one could not be listed: list instances at one: the market says auth/);
    expect(text()).toMatch(/one: NOT LISTED: what it has is unknown/);
    expect(text()).toMatch(/total: at least 1 instance, 0.5 USD an hour; 1 of 2 providers could not be listed/);
  });

  it('tells of a provider that cannot even be made, and lists the others', async () => {
    const { list, text, complaints } = aScene();

    const code = await list([{ id: providerId('broken'), fault: 'no such folder' }]);

    expect(code).toBe(1);
    expect(text()).toMatch(/broken: NOT LISTED/);
    expect(complaints()).toMatch(/ERROR: broken could not be listed: no such folder/);
  });

  it('a provider that hangs is given up in time', async () => {
    const { clock, one, list } = aScene();
    one.failAlways('ListAllInstances', { do: 'hang', done: false });

    const listing = list();
    await clock.advance(1_000);

    expect(await listing).toBe(1);
  });

  it('waits its turn where the account has been asked too often, as by a broker that still runs', async () => {
    const { clock, one, list, text } = aScene();
    one.plant({ tag: aTag(1) });
    const busy = { do: 'fail', kind: 'rate_limited', retryAfterMs: 5_000 } as const;
    one.failNext('ListAllInstances', busy, busy);

    const listing = list();
    await clock.advance(10_000);

    expect(await listing).toBe(0);
    expect(text()).toContain('one: listed, 1 with a tag of Berth');
  });

  it('RULE-R10: takes only what is to the letter our id for ours, and calls nothing ours when that is not known', async () => {
    const { one, list, text } = aScene({ own: 'test' });
    one.plant({ tag: aTag(1, { deployment: 'test1' }) });

    await list();

    expect(text()).toMatch(/deployment test1 \(other deployment\)/);
    const unknown = aScene({ own: '' });
    unknown.one.plant({ tag: aTag(1) });
    await unknown.list();
    expect(unknown.text()).toMatch(/deployment test \(whose is not known\)/);
  });

  it('says what the database knows of each tag, where it can be read', async () => {
    const known = aTag(1);
    const look: DatabaseLook = {
      outcome: 'read',
      installation: new Map(),
      statusByTag: new Map([[known, 'running']]),
    };
    const { one, list, text } = aScene({ look, json: true });
    one.plant({ tag: known });
    one.plant({ tag: aTag(2) });

    await list();

    expect(JSON.parse(text())).toMatchObject({
      complete: true,
      own_deployment: 'test',
      database: 'read',
      count: 2,
      price_per_hour: 1,
      unpriced: 0,
      deployments: [
        {
          deployment: 'test',
          own: true,
          count: 2,
          instances: [
            { provider: 'one', instance_id: 'i-1', session_status: 'running', price_per_hour: 0.5, state: 'starting' },
            { provider: 'one', instance_id: 'i-2', session_status: null, attempt: 1 },
          ],
        },
      ],
      providers: [
        { id: 'one', listed: true, tagged: 2, untagged: 0 },
        { id: 'two', listed: true, tagged: 0, untagged: 0 },
      ],
    });
  });
});
