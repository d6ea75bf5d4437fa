import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createInMemoryProvider } from '../../test/support/in-memory-provider.ts';
import { aTag } from '../../test/support/provider-calls.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { DatabaseLook } from '../db/database-look.ts';
import { parseDeploymentId } from '../provider/ownership-tag.ts';
import { recoverDestroy, type RecoverDestroyDeps } from './recover-destroy.ts';

const OURS = parseDeploymentId('test');
if (!OURS) throw new Error('test is a deployment id');
const deployment = OURS;

function aScene() {
  const clock = new FakeClock();
  const { account, provider } = createInMemoryProvider({ clock });
  const second = createInMemoryProvider({ clock, id: 'second' });
  const said: string[] = [];
  const complained: string[] = [];
  const questions: string[] = [];
  /** Runs to its end, however long that takes by the clock. */
  async function destroy(request: Partial<RecoverDestroyDeps> & { readonly answer?: string }): Promise<number> {
    let code: number | undefined;
    const running = recoverDestroy({
      providers: [provider, second.provider],
      look: { outcome: 'absent' },
      clock,
      callTimeoutMs: 10 * SECOND_MS,
      json: false,
      deployment,
      ids: [],
      all: false,
      yes: true,
      verify: false,
      forMs: 15 * MINUTE_MS,
      terminal: {
        say: (line) => said.push(line),
        complain: (line) => complained.push(line),
        ask: async (question) => {
          questions.push(question);
          return request.answer;
        },
      },
      ...request,
    }).then((ended) => (code = ended));
    for (let step = 0; code === undefined && step < 4_000; step += 1) await clock.advance(SECOND_MS);
    return running;
  }
  const living = () => account.living().map(({ id }) => id);
  return {
    clock,
    account,
    second: second.account,
    destroy,
    living,
    questions,
    text: () => said.join('\n'),
    told: () => complained.join('\n'),
  };
}

describe('berth recover --destroy', () => {
  it('destroys what bears the tag of exactly that deployment once a person has typed its id, and nothing else', async () => {
    const { account, second, destroy, living, questions, text, told } = aScene();
    account.plant({ tag: aTag(1) });
    second.plant({ tag: aTag(2) });
    const others = [
      account.plant({ tag: aTag(1, { deployment: 'test1' }) }),
      account.plant({ tag: `${aTag(1)}0000` }),
      account.plant(),
    ];

    const code = await destroy({ all: true, yes: false, answer: 'test' });

    expect(code).toBe(0);
    expect(questions).toEqual(['Type the deployment id to destroy 2: ']);
    expect(living()).toEqual(others);
    expect(second.living()).toEqual([]);
    expect(text()).toContain('2 of 2 instances of deployment test are gone');
    expect(told()).toMatch(/memory\/i-1: the provider says that it is gone/);
    expect(told()).toMatch(/memory\/i-1: is not in a complete list any more/);
  });

  it.each([
    ['another word', { yes: false, answer: 'tes' }, 'that is not the deployment id'],
    ['no terminal', { yes: false }, 'there is no terminal to ask at'],
    ['no name and no --all', { all: false }, 'name instances, or say --all'],
    ['names and --all at once', { ids: ['i-1'] }, 'not both'],
    ['an instance of another deployment', { all: false, ids: ['i-1', 'i-2'] }, 'i-2: belongs to deployment other1, not test'],
    ['an instance without a tag', { all: false, ids: ['i-1', 'i-3'] }, 'i-3: no instance with a tag of Berth is called so'],
    ['a name that two instances have', { all: false, ids: ['i-1'] }, 'i-1: several instances are called so'],
  ])('destroys nothing at %s', async (_, request, refusal) => {
    const { account, second, destroy, living, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.plant({ tag: aTag(1, { deployment: 'other1' }) });
    account.plant();
    if (refusal.includes('several')) second.plant({ tag: aTag(9) });

    const code = await destroy({ all: true, ...request });

    expect(code).toBe(1);
    expect(told()).toContain(refusal);
    expect(living()).toHaveLength(3);
    expect(account.calls('DestroyInstance')).toBe(0);
  });

  it('takes an instance by its id, by provider and id, and by its tag', async () => {
    const { account, second, destroy } = aScene();
    account.plant({ tag: aTag(1) });
    account.plant({ tag: aTag(2) });
    second.plant({ tag: aTag(3) });

    const code = await destroy({ ids: ['second/i-1', 'i-2', aTag(1)] });

    expect(code).toBe(0);
    expect([...account.living(), ...second.living()]).toEqual([]);
  });

  it('RULE-R8: asks again while a destroy fails or is no more than answered, and believes no 2xx', async () => {
    const { account, destroy, living, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' }, { do: 'ignore' }, { do: 'lose-answer' });

    const code = await destroy({ all: true });

    expect(code).toBe(0);
    expect(living()).toEqual([]);
    expect(account.calls('DestroyInstance')).toBeGreaterThanOrEqual(3);
    expect(told()).toContain('destroy not confirmed, it is asked again');
  });

  it('RULE-R8: what is called gone but is still listed is destroyed again', async () => {
    const { account, destroy, living, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.failNext('DestroyInstance', { do: 'claim-gone' });

    const code = await destroy({ all: true });

    expect(code).toBe(0);
    expect(living()).toEqual([]);
    expect(told()).toContain('is still there, destroy is asked again');
  });

  it('RULE-R7: a list that lacks what nobody destroyed ends nothing', async () => {
    const { account, destroy, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.plant();
    const listings = account.calls('ListAllInstances');
    account.failNext('DestroyInstance', { do: 'claim-gone' });
    const providerLists = { do: 'empty' } as const;

    const running = destroy({ all: true });
    account.failAlways('ListAllInstances', providerLists); // from the first look on: the survey has begun already
    const code = await running;

    expect(account.calls('ListAllInstances')).toBeGreaterThan(listings + 2);
    expect(told()).toContain('its list lacks an instance that exists');
    expect(code).toBe(1);
  });

  it('says what remains, and fails, when the provider refuses for all of the time', async () => {
    const { account, destroy, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.failAlways('DestroyInstance', { do: 'fail', kind: 'rejected' });

    const code = await destroy({ all: true, forMs: MINUTE_MS });

    expect(code).toBe(1);
    expect(told()).toMatch(/ERROR: memory\/i-1 REMAINS and may cost money/);
  });

  it('destroys what it can where one provider cannot be listed, and fails all the same', async () => {
    const { account, second, destroy, living, told } = aScene();
    account.plant({ tag: aTag(1) });
    second.plant({ tag: aTag(2) });
    second.failAlways('ListAllInstances', { do: 'fail', kind: 'auth' });

    const code = await destroy({ all: true });

    expect(code).toBe(1);
    expect(living()).toEqual([]);
    expect(second.living()).toHaveLength(1);
    expect(told()).toMatch(/what the providers have that could not be listed REMAINS/);
  });

  it('REL-A4: what lands late under our tag ends with the others, when all was asked for', async () => {
    const { account, destroy, living, told } = aScene();
    account.plant({ tag: aTag(1) });
    account.failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' });

    const running = destroy({ all: true });
    account.plant({ tag: aTag(2) });
    account.plant({ tag: aTag(2, { deployment: 'test1' }) });

    expect(await running).toBe(0);
    expect(told()).toContain('memory/i-2: appeared meanwhile, and is destroyed too');
    expect(living()).toEqual(['i-3']);
  });

  it('REL-B15: an id that has become another’s is left alone', async () => {
    const { account, destroy, living, told } = aScene();
    const id = account.plant({ tag: aTag(1) });
    account.failNext('DestroyInstance', { do: 'fail', kind: 'unavailable' });

    const running = destroy({ ids: [aTag(1)] });
    account.vanish(id);
    account.plant({ id, tag: aTag(1, { deployment: 'other1' }) });

    expect(await running).toBe(0);
    expect(told()).toContain("the id is another's by now");
    expect(living()).toEqual([id]);
    expect(account.calls('DestroyInstance')).toBe(1);
  });

  it('RULE-R6: with --verify it goes on until absence is a verdict by the provider’s own policy', async () => {
    const { clock, account, destroy, text, told } = aScene();
    account.plant({ tag: aTag(1) });
    const before = clock.now();

    const code = await destroy({ all: true, verify: true });

    expect(code).toBe(0);
    expect(clock.now() - before).toBeGreaterThanOrEqual(5_000); // the window of this market
    expect(told()).toContain('absent by verdict');
    expect(text()).not.toContain('--verify');
  });

  it('says what the database holds of the doomed, and prints an outcome for programs', async () => {
    const look: DatabaseLook = { outcome: 'read', installation: new Map(), statusByTag: new Map([[aTag(1), 'running']]) };
    const { account, destroy, text, told } = aScene();
    account.plant({ tag: aTag(1) });

    const code = await destroy({ all: true, look, json: true });

    expect(code).toBe(0);
    expect(told()).toContain('its session is running in the database');
    expect(JSON.parse(text())).toMatchObject({
      complete: true,
      destroyed: [{ instance_id: 'i-1', said_gone: true }],
      remaining: [],
    });
  });
});
