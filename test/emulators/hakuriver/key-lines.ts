/** The lines that a start script writes into authorized_keys: whatever was submitted, checked by nobody. */
export function keyLinesOf(command: string): string[] {
  return command.split('\n').filter((line) => line.trim() !== '');
}

const KEY = /(?:^|\s)(?:ssh|ecdsa|sk)-[\w@.-]+\s+[A-Za-z0-9+/=]+\s+(\S.*)$/;

/** What stands behind the keys: comments, of which one may be an ownership tag. */
export function tagsOf(keyLines: readonly string[]): string[] {
  return keyLines.flatMap((line) => KEY.exec(line.trim())?.[1] ?? []);
}
