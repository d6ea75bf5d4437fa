import { eq } from 'drizzle-orm';
import { everyColumn, statement } from './statement.ts';
import type { Store } from './store.ts';

type Fact = { name: string; value: string };

/** What is true of this installation as a whole: its deployment id, the canary of its key-encryption key, its recovery mode. */
export interface InstallationRepository {
  read(name: string): Promise<string | undefined>;
  /** Writes it unless it is there; hands back what is there now. Two starts at once agree. */
  keepFirst(name: string, value: string): Promise<string>;
  /** Writes it, whatever stood there. */
  put(name: string, value: string): Promise<void>;
  /** Writes a row and commits; throws StoreError when the database takes no writes. */
  probeWrite(): Promise<void>;
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

  const touch = statement('installation.touch', (query, values: Fact) =>
    query
      .insert(installation)
      .values(everyColumn(installation, values))
      .onConflictDoUpdate({ target: [installation.name], set: { value: values.value } })
      .returning({ name: installation.name }),
  );
  let probes = 0;

  return {
    async probeWrite() {
      probes += 1;
      await store.write(() => touch({ name: 'write_probe', value: String(probes) }));
    },
    async put(name, value) {
      await store.write(() => touch({ name, value }));
    },
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
