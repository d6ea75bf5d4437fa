import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The repository's root folder. */
export const root = resolve(import.meta.dirname, '../..');

/** Every file under the folders that hold code; paths from the root. Read from the disk, so that a copy without git is checked too. */
export function repositoryFiles(): readonly string[] {
  return ['src', 'providers', 'test', 'bench', 'scripts']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules'))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

/** What ships: no tests, no emulators, no fixtures. */
export function productFiles(): readonly string[] {
  return repositoryFiles().filter(
    (file) => /^(src|providers)\/.*\.ts$/.test(file) && !/\.test\.ts$|\/emulator\.ts$|\/fixtures\//.test(file),
  );
}
