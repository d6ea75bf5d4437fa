interface Entry<Value> {
  readonly versions: string;
  readonly value: Value;
  readonly bytes: number;
}

export interface PageCache<Value> {
  get(key: string, versions: string): Value | undefined;
  set(key: string, versions: string, value: Value, bytes: number): void;
}

/**
 * Keeps what was used last, within a number of entries and of bytes. An entry of other versions than asked for is as good as none
 * and is replaced in its place, so old pages do not pile up. A value larger than an eighth of the room is not kept.
 */
export function createPageCache<Value>({ maxEntries, maxBytes }: { maxEntries: number; maxBytes: number }): PageCache<Value> {
  // a Map keeps insertion order: its first entry is the one unused for longest
  const entries = new Map<string, Entry<Value>>();
  let held = 0;

  const drop = (key: string) => {
    held -= entries.get(key)?.bytes ?? 0;
    entries.delete(key);
  };

  return {
    get(key, versions) {
      const entry = entries.get(key);
      if (entry?.versions !== versions) return undefined;
      entries.delete(key);
      entries.set(key, entry);
      return entry.value;
    },
    set(key, versions, value, bytes) {
      drop(key);
      if (bytes > maxBytes / 8) return;
      entries.set(key, { versions, value, bytes });
      held += bytes;
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries && held <= maxBytes) break;
        drop(oldest);
      }
    },
  };
}
