import { expect, it } from 'vitest';
import { describeEachDatabase, describeEachStore } from '../../test/support/stores.ts';
import { createControllerRepository } from './controller-repository.ts';
import { createInstallationRepository } from './installation-repository.ts';
import { statement } from './statement.ts';

describeEachDatabase('what is true of an installation', (create) => {
  it('is written once: twenty starts at once agree, and a later one learns what was kept', async () => {
    const database = await create();
    const store = await database.open();
    const installation = createInstallationRepository(store);
    expect(await installation.read('deployment_id')).toBeUndefined();

    const kept = await Promise.all(
      Array.from({ length: 20 }, (_, index) => installation.keepFirst('deployment_id', `id${index}`)),
    );

    expect(new Set(kept).size).toBe(1);
    expect(await installation.read('deployment_id')).toBe(kept[0]);
    await store.close();
    const reopened = createInstallationRepository(await database.open());
    expect(await reopened.keepFirst('deployment_id', 'another')).toBe(kept[0]);
    expect(await reopened.keepFirst('canary', 'c')).toBe('c');
  });
});

describeEachStore('how a controller has been doing', (open) => {
  it('is one row a controller, the last pass', async () => {
    const store = await open();
    const controllers = createControllerRepository(store);
    const row = {
      name: 'session.expiry',
      lastStartedAt: 1,
      lastDurationMs: 2,
      lastSuccessAt: null,
      consecutiveFailures: 3,
      lastError: 'x',
      report: {},
    };

    await controllers.record(row);
    await controllers.record({
      ...row,
      lastStartedAt: 9,
      lastSuccessAt: 9,
      consecutiveFailures: 0,
      lastError: null,
      report: { changed: 1 },
    });

    const all = statement('test.controllers', (query) => query.select().from(store.tables.controllers));
    expect(await store.read(all({}))).toEqual([
      { ...row, lastStartedAt: 9, lastSuccessAt: 9, consecutiveFailures: 0, lastError: null, report: { changed: 1 } },
    ]);
  });
});
