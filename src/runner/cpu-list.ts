/** Reads a kernel's list of CPUs: `0-3,8` → 0, 1, 2, 3, 8. Undefined for anything else. */
export function parseCpuList(list: string): number[] | undefined {
  const ids: number[] = [];
  for (const part of list.trim().split(',')) {
    const [, first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim()) ?? [];
    if (first === undefined) return undefined;
    for (let id = Number(first); id <= Number(last ?? first); id += 1) ids.push(id);
  }
  return ids.length > 0 ? ids : undefined;
}

/** The other way, as Docker wants it. */
export function formatCpuList(ids: readonly number[]): string {
  return [...new Set(ids)].sort((a, b) => a - b).join(',');
}
