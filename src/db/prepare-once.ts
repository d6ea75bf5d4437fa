import type { Definition, Preparable, QueryBuilder } from './statement.ts';

/** The prepared statements of one connection, each made at its first use: building a query costs ten times its execution. */
export function prepareOnce<Prepared>(
  query: QueryBuilder,
  prepare: (built: Preparable<unknown>, name: string) => Prepared,
): (definition: Definition) => Prepared {
  const prepared = new WeakMap<Definition, { statement: Prepared }>();
  return (definition) => {
    const known = prepared.get(definition);
    if (known) return known.statement;
    const built = definition.build(query);
    if (typeof built.prepare !== 'function')
      throw new TypeError(`statement ${definition.name} is not a query builder: raw SQL and $count cannot be prepared`);
    const made = prepare(built, definition.name);
    prepared.set(definition, { statement: made });
    return made;
  };
}
