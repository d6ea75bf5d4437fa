import { defineConfig } from 'vitest/config';

// unit: no outside programs but SQLite and PostgreSQL; integration: Docker, sshd, processes; e2e: the whole product from outside.
export default defineConfig({
  test: {
    maxWorkers: 2,
    // Here and not in a project, so that one run has one PostgreSQL server, whatever it is a run of; it gives `postgresUrl`.
    globalSetup: ['test/support/postgres-server.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          pool: 'forks',
          include: [
            '{src,providers,bench,scripts}/**/*.test.ts',
            'test/{structure,conformance,support,simulation,crash-points}/**/*.test.ts',
          ],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'integration',
          pool: 'forks',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          pool: 'forks',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
