import type { MetricDescription } from '../../src/observability/metrics.ts';

/** Each name that Prometheus stores of these metrics, with its labels. */
export function storedMetrics(metrics: readonly MetricDescription[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    metrics.flatMap(({ name, type, labels }): [string, readonly string[]][] =>
      type === 'histogram'
        ? [
            [name, labels],
            [`${name}_bucket`, [...labels, 'le']],
            [`${name}_sum`, labels],
            [`${name}_count`, labels],
          ]
        : [[name, labels]],
    ),
  );
}

/** The metrics of a PromQL expression, and the labels that it matches, groups or joins by. */
export function namesIn(expr: string): { names: readonly string[]; labels: readonly string[] } {
  const labels: string[] = [];
  const bare = expr
    .replace(/"[^"]*"/g, '""')
    .replace(/\b(?:by|without|on|ignoring) \(([^)]*)\)/g, (_, list: string) => {
      labels.push(...list.split(',').map((label) => label.trim()));
      return ' ';
    })
    .replace(/\{([^}]*)\}/g, (_, matchers: string) => {
      labels.push(...[...matchers.matchAll(/(\w+)\s*[=!]/g)].map(([, label = '']) => label));
      return ' ';
    })
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\b(?:and|or|unless)\b/g, ' ');
  return { names: [...bare.matchAll(/\b[a-z_:][\w:]*\b(?!\s*\()/g)].map(([name]) => name), labels };
}
