/** Names and texts as a process or a `.env` file has them. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** A variable that is set, under the name that was used. */
export interface FoundVariable {
  readonly name: string;
  readonly text: string;
}

/** The environment laid over `.env`: what the process was started with wins, and an empty text means unset. */
export interface VariableSources {
  find(names: readonly string[]): FoundVariable | undefined;
  /** Two names of one variable in the same source that say different things. */
  contradiction(names: readonly string[]): readonly [string, string] | undefined;
}

export function variableSources(sources: readonly Variables[]): VariableSources {
  return {
    find: (names) => {
      for (const source of sources) {
        const [first] = allIn(source, names);
        if (first) return first;
      }
      return undefined;
    },
    contradiction: (names) => {
      for (const source of sources) {
        const [first, ...others] = allIn(source, names);
        if (!first) continue;
        const other = others.find(({ text }) => text !== first.text);
        return other && [first.name, other.name];
      }
      return undefined;
    },
  };
}

function allIn(source: Variables, names: readonly string[]): FoundVariable[] {
  return names.flatMap((name) => {
    const text = Object.hasOwn(source, name) ? source[name]?.trim() : undefined;
    return text === undefined || text === '' ? [] : [{ name, text }];
  });
}
