import { mutationGroup } from './scripts/lib/mutation-groups.mjs';

const { name, mutate, least } = mutationGroup();

export default {
  mutate,
  testRunner: 'vitest',
  vitest: { configFile: 'vitest.mutation.config.mjs', related: false },
  coverageAnalysis: 'perTest',
  concurrency: 1,
  timeoutMS: 30_000, // a busy machine is no mutant that was noticed
  thresholds: { high: 95, low: 90, break: least },
  reporters: ['clear-text', 'json', 'html'],
  clearTextReporter: { allowColor: false, reportTests: false },
  jsonReporter: { fileName: `.tmp/mutation/${name}.json` },
  htmlReporter: { fileName: `.tmp/mutation/${name}.html` },
  cleanTempDir: 'always',
  tempDirName: `.tmp/mutation/sandbox-${name}`,
  ignorePatterns: ['.tmp', 'dist', 'data', 'docs', 'bench', 'deploy'],
};
