import { everyColumn, statement } from './statement.ts';
import type { Store } from './store.ts';
import type { ControllerRow } from './tables.ts';

/** How the controllers have been doing, for a restart and for people who look into the database. */
export function createControllerRepository(store: Store) {
  const { controllers } = store.tables;
  const upsert = statement('controller.upsert', (query, values: ControllerRow) =>
    query
      .insert(controllers)
      .values(everyColumn(controllers, values))
      .onConflictDoUpdate({ target: [controllers.name], set: everyColumn(controllers, values) })
      .returning({ name: controllers.name }),
  );
  return {
    async record(row: ControllerRow): Promise<void> {
      await store.write(() => upsert(row));
    },
  };
}
