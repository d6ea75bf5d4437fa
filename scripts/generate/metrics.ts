import { systemClock } from '../../src/core/clock.ts';
import { createMetrics } from '../../src/observability/metrics.ts';

export const file = 'docs/metrics.md';

const INTRODUCTION = `<!-- Made by npm run generate from src/observability. Do not edit. -->

# Metrics

\`GET /metrics\` answers in the text format of Prometheus; with API keys configured it asks for one. Gauges are read when they are
scraped, so they cannot drift; counters count each fact once and begin at 0 when the broker starts. Labels take their values from
closed lists: anything else is \`other\`. Beside these stand the process's own metrics (\`process_*\`, \`nodejs_*\`).

Two counters keep names without \`_total\` for existing dashboards: \`gpu_ssh_verify_errors_by_type\` and \`gpu_cost_accrued_usd\`.
`;

/** The reference of all metrics, from the registry itself. */
export async function render(): Promise<string> {
  const metrics = createMetrics({
    version: '',
    clock: systemClock,
    log: { warn: () => {} },
    labels: {
      providers: [],
      endReasons: [],
      sshErrorTypes: [],
      failureTypes: [],
      tunnelRefusals: [],
      tunnelEnds: [],
      controllers: [],
    },
    withProcessMetrics: false,
  });
  metrics.collectFrom({
    activeSessions: async () => [],
    unconfirmedDestroys: async () => ({ count: 0, oldestAgeMs: 0 }),
    unconfirmedInstances: async () => [],
    orphansAlive: async () => [],
    tombstones: async () => 0,
    accountSpend: () => [],
    offers: () => [],
    tunnelConnections: () => [],
    isClockFrozen: () => false,
    isInRecovery: async () => false,
  });
  const rows = metrics
    .describe()
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .map(({ name, type, labels, help, buckets }) => {
      const names = labels.map((label) => `\`${label}\``).join(', ');
      const bounds = buckets.length > 0 ? ` Buckets: ${buckets.join(', ')}.` : '';
      return `| \`${name}\` | ${type} | ${names} | ${help}${bounds} |`;
    });
  return [INTRODUCTION, '| Name | Type | Labels | What it tells |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}
