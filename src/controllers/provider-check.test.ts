import { expect, it } from 'vitest';
import { recordingLog } from '../../test/support/log.ts';
import { describeWorld } from '../../test/support/world.ts';
import { providerId } from '../provider/ids.ts';
import { createProviderCheckController } from './provider-check.ts';

const signal = new AbortController().signal;

describeWorld('provider check', (make) => {
  it('says once, in plain words, which provider does not work, and once that it works again', async () => {
    const world = await make({ providers: [{ id: 'good' }, { id: 'bad' }] });
    const { providers, clock } = world.replica;
    const log = recordingLog();
    const controller = createProviderCheckController({
      providers,
      clock,
      log,
      settings: { periodMs: 300_000, callTimeoutMs: 1_000 },
    });
    const verdict = (id: string) => controller.verdictOf(providerId(id));
    world.account('bad').failAlways('Check', { do: 'fail', kind: 'auth' });

    expect(verdict('bad')).toBeUndefined();
    const first = await controller.reconcile({ signal });
    const again = await controller.reconcile({ signal });

    expect([first, again]).toMatchObject([
      { examined: 2, changed: 2, failed: 1 },
      { changed: 0, failed: 1 },
    ]);
    expect(verdict('good')).toMatchObject({ ok: true });
    expect(verdict('bad')).toMatchObject({ ok: false, kind: 'auth', message: expect.stringMatching(/check at bad/) });
    expect(log.messages('error')).toHaveLength(1);

    world.account('bad').heal();
    await controller.reconcile({ signal });

    expect(verdict('bad')).toMatchObject({ ok: true });
    expect(log.messages('info')).toEqual(['provider passes its check', 'provider passes its check']);
  });
});
