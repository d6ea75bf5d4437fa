import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

/** The shipped dashboard, as far as tests read it. */
interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

export interface Expression {
  readonly panel: string;
  readonly expr: string;
  /** Labels that the legend prints. */
  readonly shown: readonly string[];
}

/** Every expression of deploy/grafana/berth.json. */
export async function dashboardExpressions(): Promise<readonly Expression[]> {
  const text = await readFile(resolve(import.meta.dirname, '../../deploy/grafana/berth.json'), 'utf8');
  const { panels } = JSON.parse(text) as Dashboard; // ours, and it has this shape or the tests that read it say so
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      panel: title,
      expr,
      shown: [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label),
    })),
  );
}
