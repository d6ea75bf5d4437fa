import { defineConfig } from 'vitest/config';
import { mutationGroup } from './scripts/lib/mutation-groups.mjs';

// For npm run mutate alone: the tests of one group, which need no PostgreSQL and no other program.
export default defineConfig({ test: { include: mutationGroup().tests, testTimeout: 30_000 } });
