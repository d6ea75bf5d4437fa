import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import { createInMemoryProvider } from '../../../test/support/in-memory-provider.ts';
import { aCreateRequest, byMonotonic, uncancelled } from '../../../test/support/provider-calls.ts';
import { later, momentOf } from '../../core/moment.ts';
import { fenced } from './fenced.ts';

describe('fenced', () => {
  it('RULE-R11, REL-A15: refuses a create past its deadline on the monotonic clock, and nothing is made', async () => {
    const clock = new FakeClock();
    const { provider, account } = createInMemoryProvider({ clock });
    const request = aCreateRequest(anOffer(), { notAfter: byMonotonic(5_000) });
    await clock.advance(5_001);

    const create = fenced(provider, { clock }).createInstance(request, uncancelled);

    await expect(create).rejects.toMatchObject({
      name: 'ProviderError',
      kind: 'unavailable',
      operation: 'CreateInstance',
      provider: provider.id,
      message: `create instance at ${provider.id}: not sent, its deadline had passed`,
    });
    expect(account.calls('CreateInstance')).toBe(0);
  });

  it('RULE-R11: lets a create pass until its deadline, however far back wall time has jumped', async () => {
    const clock = new FakeClock();
    const { provider } = createInMemoryProvider({ clock });
    const notAfter = later(momentOf(clock), 5_000);
    await clock.advance(5_000);
    clock.jumpWall(-86_400_000);

    const made = await fenced(provider, { clock }).createInstance(aCreateRequest(anOffer(), { notAfter }), uncancelled);

    expect(made.state).toBe('starting');
  });

  it('RULE-R12, REL-F3: refuses a create whose deadline has passed by the wall clock alone, as after a suspension', async () => {
    const clock = new FakeClock();
    const { provider, account } = createInMemoryProvider({ clock });
    const notAfter = later(momentOf(clock), 5_000);
    clock.jumpWall(5_001);

    const create = fenced(provider, { clock }).createInstance(aCreateRequest(anOffer(), { notAfter }), uncancelled);

    await expect(create).rejects.toMatchObject({ kind: 'unavailable', operation: 'CreateInstance' });
    expect(account.calls('CreateInstance')).toBe(0);
  });

  it('RULE-R11, REL-B15: refuses a destroy that rests on what was seen too long ago', async () => {
    const clock = new FakeClock();
    const { provider, account } = createInMemoryProvider({ clock });
    const { id } = await provider.createInstance(aCreateRequest(anOffer()), uncancelled);
    const destroy = () => fenced(provider, { clock }).destroyInstance(id, { ...uncancelled, notAfter: byMonotonic(5_000) });
    await clock.advance(5_001);

    await expect(destroy()).rejects.toMatchObject({ kind: 'unavailable', operation: 'DestroyInstance' });
    expect(account.calls('DestroyInstance')).toBe(0);
  });

  it('lets a call pass that has no deadline, whatever the time', async () => {
    const clock = new FakeClock();
    const { provider } = createInMemoryProvider({ clock });
    await clock.advance(86_400_000);

    await expect(fenced(provider, { clock }).listInstances(uncancelled)).resolves.toEqual(
      await provider.listInstances(uncancelled),
    );
  });
});
