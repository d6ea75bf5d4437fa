import { eq } from 'drizzle-orm';
import { everyColumn, statement } from './statement.ts';
import type { Store } from './store.ts';

type Fact = { name: string; value: string };

/** What is true of this installation as a whole: its deployment id, the canary of its key-encryption key. */
export interface InstallationRepository {
  read(name: string): Promise<string | undefined>;
  /** Writes it unless it is there; hands back what is there now. Two starts at once agree. */
  keepFirst(name: string, value: string): Promise<string>;
}

export function createInstallationRepository(store: Store): InstallationRepository {
  const { installation } = store.tables;
  const find = statement('installation.find', (query, values: { name: string }) =>
    query.select().from(installation).where(eq(installation.name, values.name)),
  );
  const insert = statement('installation.insert-if-new', (query, values: Fact) =>
    query
      .insert(installation)
      .values(everyColumn(installation, values))
      .onConflictDoNothing({ target: [installation.name] })
      .returning({ name: installation.name }),
  );

  return {
    async read(name) {
      const [row] = await store.read(find({ name }));
      return row?.value;
    },
    keepFirst: (name, value) =>
      store.write(function* () {
        const [earlier] = yield* find({ name });
        if (earlier) return earlier.value;
        yield* insert({ name, value });
        const [row] = yield* find({ name });
        return row?.value ?? value;
      }),
  };
}
