import { expect, it } from 'vitest';
import { recordingLog } from '../../test/support/log.ts';
import { aTag } from '../../test/support/provider-calls.ts';
import { WorldClock, describeWorld, type World } from '../../test/support/world.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import { createMetrics } from '../observability/metrics.ts';
import { offerId } from '../provider/ids.ts';
import { leakSources } from './leak-sources.ts';
import { recordChange } from './metrics-recorder.ts';

// Each fault is made to happen, and the number is read from the page that Prometheus reads.

const MEMORY = '{provider="memory"}';
const unconfirmed = (state: 'destroying' | 'unknown') => `{provider="memory",state="${state}"}`;

describeWorld('leak sources', (make) => {
  /** A world whose counts and gauges are those of the product. */
  async function watched(options: Parameters<typeof make>[0] = {}) {
    const metrics = createMetrics({
      version: 'test',
      clock: new WorldClock(),
      log: recordingLog(),
      labels: {
        providers: ['memory'],
        endReasons: [],
        sshErrorTypes: [],
        failureTypes: [],
        tunnelRefusals: [],
        tunnelEnds: [],
        controllers: [],
      },
      withProcessMetrics: false,
    });
    const world = await make({ ...options, metrics });
    const { sessions, sightings, accountSpend, changes } = world.replica;
    metrics.collectFrom(leakSources({ sessions, sightings, accountSpend, clock: world.clock }));
    changes.onAny((change) => recordChange(metrics, change));
    /** The number behind a series; undefined where there is none. */
    const read = async (series: string) => {
      const line = (await metrics.scrape()).split('\n').find((each) => each.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length));
    };
    return { world, read };
  }

  async function rent(world: World) {
    const { id } = await world.order({ reservationMinutes: 600, request: { offerId: offerId('memory-ask-1') } });
    await world.pass('session.provisioning');
    const { instanceId } = await world.attempt(id);
    return { id, instanceId };
  }

  it('REL-C1: a destroy that nobody confirms shows what it costs an hour and for how long', async () => {
    const { world, read } = await watched();
    const { id } = await rent(world);
    expect(await read(`gpu_instances_unconfirmed${unconfirmed('destroying')}`)).toBe(0);

    world.account().failAlways('DestroyInstance', { do: 'fail', kind: 'unavailable' });
    await world.stop(id);
    await world.pass('session.termination');
    await world.clock.advance(20 * MINUTE_MS);

    expect(await read(`gpu_instances_unconfirmed${unconfirmed('destroying')}`)).toBe(1);
    expect(await read(`gpu_instances_unconfirmed_usd_per_hour${unconfirmed('destroying')}`)).toBe(0.34);
    expect(await read(`gpu_instances_unconfirmed_oldest_age_seconds${unconfirmed('destroying')}`)).toBe(20 * 60);

    world.account().heal();
    await world.pass('session.termination');
    expect(await read(`gpu_instances_unconfirmed_usd_per_hour${unconfirmed('destroying')}`)).toBe(0);
  });

  it('REL-A3: a create that nobody answered shows what it would cost', async () => {
    const { world, read } = await watched();
    world.account().failNext('CreateInstance', { do: 'lose-answer' });
    world.account().settings.listLagMs = HOUR_MS;
    await rent(world);
    await world.clock.advance(MINUTE_MS);

    expect(await read(`gpu_instances_unconfirmed${unconfirmed('unknown')}`)).toBe(1);
    expect(await read(`gpu_instances_unconfirmed_usd_per_hour${unconfirmed('unknown')}`)).toBe(0.34);
    expect(await read(`gpu_instances_unconfirmed_oldest_age_seconds${unconfirmed('unknown')}`)).toBeGreaterThanOrEqual(60);
  });

  it('RULE-R7: a list that lacks what is alive is counted and shown as suspect until a better one comes', async () => {
    const { world, read } = await watched();
    const { instanceId } = await rent(world);
    await world.clock.advance(MINUTE_MS);
    await world.pass('instance.orphans');
    expect(await read(`gpu_instance_list_suspect${MEMORY}`)).toBe(0);

    world.account().failNext('ListAllInstances', { do: 'omit', ids: [instanceId!] }, { do: 'fail', kind: 'unavailable' });
    await world.clock.advance(SECOND_MS);
    await world.pass('instance.orphans');
    expect(await read(`gpu_instance_list_suspect${MEMORY}`)).toBe(1);
    await world.clock.advance(SECOND_MS);
    await world.pass('instance.orphans');
    expect(await read(`gpu_instance_list_suspect${MEMORY}`)).toBe(1); // no list is no better list
    await world.clock.advance(SECOND_MS);
    await world.pass('instance.orphans');

    expect(await read(`gpu_instance_list_suspect${MEMORY}`)).toBe(0);
    expect(await read('gpu_instance_lists_total{provider="memory",result="suspect"}')).toBe(1);
    expect(await read('gpu_instance_lists_total{provider="memory",result="failed"}')).toBe(1);
  });

  it('RULE-R10: an orphan is seen, alive for as long as it is, and destroyed', async () => {
    const { world, read } = await watched();
    world.account().plant({ tag: aTag(99) });
    world.account().plant({ tag: 'somebody-elses' });
    await world.pass('instance.orphans');
    await world.clock.advance(16 * MINUTE_MS);

    expect(await read('gpu_orphans_detected_total')).toBe(1);
    expect(await read(`gpu_orphans_alive${MEMORY}`)).toBe(1);
    expect(await read(`gpu_orphans_oldest_age_seconds${MEMORY}`)).toBe(16 * 60);
    expect(await read(`gpu_orphans_destroyed_total${MEMORY}`)).toBe(0);

    await world.pass('instance.orphans'); // destroys it
    await world.clock.advance(SECOND_MS);
    await world.pass('instance.orphans'); // and finds it gone
    expect(await read(`gpu_orphans_alive${MEMORY}`)).toBe(0);
    expect(await read(`gpu_orphans_oldest_age_seconds${MEMORY}`)).toBe(0);
    expect(await read(`gpu_orphans_destroyed_total${MEMORY}`)).toBe(1);
  });

  it('an orphan that goes by itself was not destroyed', async () => {
    const { world, read } = await watched();
    const stray = world.account().plant({ tag: aTag(99) });
    await world.pass('instance.orphans');
    world.account().vanish(stray);
    await world.clock.advance(SECOND_MS);
    await world.pass('instance.orphans');

    expect(await read(`gpu_orphans_alive${MEMORY}`)).toBe(0);
    expect(await read(`gpu_orphans_destroyed_total${MEMORY}`)).toBe(0);
  });

  it('RULE-R9: a closed attempt is watched, and counted when it comes back', async () => {
    const { world, read } = await watched();
    const { id, instanceId } = await rent(world);
    const hidden = { do: 'omit', ids: [instanceId!] } as const;
    world.account().failAlways('DestroyInstance', { do: 'claim-gone' });
    world.account().failAlways('GetInstanceStatus', hidden);
    world.account().failAlways('ListAllInstances', hidden);
    await world.stop(id);
    for (let passes = 0; passes < 12; passes += 1) {
      await world.pass('session.termination');
      await world.clock.advance(2 * SECOND_MS);
    }
    expect((await world.attempt(id)).state).toBe('gone');
    expect(await read('gpu_tombstones_watched')).toBe(1);
    expect(await read(`gpu_instances_reappeared_total${MEMORY}`)).toBe(0);

    world.account().heal();
    await world.pass('instance.orphans');

    expect(await read(`gpu_instances_reappeared_total${MEMORY}`)).toBe(1);
    expect(await read('gpu_tombstones_watched')).toBe(0);
    expect(await read(`gpu_instances_unconfirmed_usd_per_hour${unconfirmed('destroying')}`)).toBe(0.34);
  });

  it('REL-B16: an account that spends more than is known of shows both rates and the alarm', async () => {
    const { world, read } = await watched();
    world.account().plant({ tag: aTag(99) });
    await rent(world);
    for (let passes = 0; passes < 5; passes += 1) {
      await world.pass('account.spend');
      await world.clock.advance(5 * MINUTE_MS);
    }

    expect(await read(`gpu_account_possible_leak${MEMORY}`)).toBe(1);
    expect(await read(`gpu_account_spend_expected_usd_per_hour${MEMORY}`)).toBe(0.34);
    expect(await read(`gpu_account_spend_observed_usd_per_hour${MEMORY}`)).toBe(0.84);
    expect(await read('gpu_account_spend_state{provider="memory",state="possible_leak"}')).toBe(1);
    expect(await read('gpu_account_spend_state{provider="memory",state="cannot_tell"}')).toBe(0);
  });
});
