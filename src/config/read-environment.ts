import { readFileSync } from 'node:fs';
import type { Variables } from './variables.ts';

/** The one place that looks at the process's environment and reads files for it. */
export function readEnvironment(folder = process.cwd()): { readonly environment: Variables; readonly dotenvText?: string } {
  const environment = { ...process.env };
  try {
    return { environment, dotenvText: readTextFile(`${folder}/.env`) };
  } catch (error) {
    // Most installations have none. One that cannot be read is another matter: its settings would be missing in silence.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { environment };
    throw error;
  }
}

export function readTextFile(path: string): string {
  return readFileSync(path, 'utf8');
}
