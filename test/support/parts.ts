import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { describe } from 'vitest';

/** What some tests need of the machine beyond npm's packages; scripts/lib/parts.mjs knows how to find and to install each. */
export type Part = 'docker' | 'sshd' | 'chromium' | 'prometheus' | 'python' | 'faketime' | 'strace' | 'tmpfs' | 'node24';

/** A run on Node 20 does not lack Node 24: it has a run of its own. */
const optionalParts: readonly Part[] = ['node24'];

const present = new Set(namesOfPresentParts().split(','));

/** Whether the machine has the part. */
export function hasPart(part: Part): boolean {
  return present.has(part);
}

/**
 * A `describe` for tests that need parts of the machine. Where one is missing they are skipped, and the title says for want of what;
 * under CI=true a missing part fails the file instead, so that a machine that lost a program is never green.
 */
export function describePart(part: Part | readonly Part[], name: string, tests: () => void): void {
  const missing = [part].flat().filter((needed) => !hasPart(needed));
  if (missing.length === 0) {
    describe(name, tests);
    return;
  }
  if (process.env['CI'] === 'true' && missing.some((needed) => !optionalParts.includes(needed))) {
    throw new Error(
      `"${name}" needs ${missing.join(' and ')}, which this machine lacks, and CI=true leaves out no test; npm test says how to install it`,
    );
  }
  describe.skip(`${name} [SKIPPED: this machine lacks ${missing.join(' and ')}]`, tests);
}

/** scripts/test.mjs says it once for the whole run; a run without it looks for itself. */
function namesOfPresentParts(): string {
  const told = process.env['BERTH_TEST_PARTS'];
  return (
    told ??
    execFileSync(process.execPath, [resolve(import.meta.dirname, '../../scripts/lib/parts.mjs')], { encoding: 'utf8' }).trim()
  );
}
