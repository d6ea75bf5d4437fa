import { readFile } from 'node:fs/promises';

const USUAL_LIMIT = 65_536;

/**
 * The most open files to give to a container. An engine that may not raise its own limit (nested in a container, without SYS_RESOURCE)
 * refuses to start one that asks for more; this process, beside it, is under the same limit.
 */
export async function openFilesLimit(
  readLimits: () => Promise<string> = () => readFile('/proc/self/limits', 'utf8'),
): Promise<number> {
  let limits: string;
  try {
    limits = await readLimits();
  } catch {
    return USUAL_LIMIT; // not Linux: the engine runs in a machine of its own
  }
  const [, hard] = /^Max open files\s+\S+\s+(\d+)/m.exec(limits) ?? [];
  return hard === undefined ? USUAL_LIMIT : Math.min(USUAL_LIMIT, Number(hard));
}
