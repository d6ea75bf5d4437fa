import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { providerModules } from '../../providers/index.ts';
import { listProviderSettings } from '../../scripts/generate/list-provider-settings.ts';
import { render as renderConfiguration } from '../../scripts/generate/readme-configuration.ts';
import { listSettings } from '../../src/config/list-settings.ts';
import { systemClock } from '../../src/core/clock.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { dashboardExpressions } from '../support/dashboard.ts';
import { namesIn, storedMetrics } from '../support/promql.ts';
import { repositoryFiles, root } from './source-files.ts';

const read = (file: string) => readFileSync(join(root, file), 'utf8');
const withoutCode = (text: string) => text.replace(/^ *```[\s\S]*?^ *```/gm, '').replace(/`[^`\n]*`/g, '');

const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
  ...repositoryFiles().filter((file) => /^providers\/[^/]+\/README\.md$/.test(file)),
];

describe('the documents', () => {
  it('are there', () => {
    expect(pages.length).toBeGreaterThan(20);
  });

  it.each(pages)('%s links to what exists', (page) => {
    const links = [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
    const broken = links.filter((link) => !/^(https?|mailto):/.test(link) && !resolves(page, link));
    expect(broken).toEqual([]);
  });

  it('name no variable that nothing reads', () => {
    const known = new Set([
      ...listSettings().flatMap(({ settings }) => settings.flatMap(({ variable, aliases = [] }) => [variable, ...aliases])),
      ...providerModules.flatMap((module) => listProviderSettings(module).map(({ variable }) => variable)),
      ...[...read('deploy/ci/rent-for-a-run.sh').matchAll(/\bBERTH_[A-Z_]+\b/g)].map(([name]) => name),
      ...['bench/support/scratch.ts', 'bench/support/broker-process.ts'].flatMap((file) =>
        [...read(file).matchAll(/\bBENCH_[A-Z_]+\b/g)].map(([name]) => name),
      ),
      'BERTH_TAG',
      'POSTGRES_PASSWORD',
    ]);
    // docs/configuration.md is made from the settings themselves
    const guides = pages.filter((page) => page === 'README.md' || /^docs\/(?!configuration)/.test(page));
    const named = guides.flatMap((page) =>
      [...read(page).matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`/g)].map(([, name = '']) => ({ page, name })),
    );
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ name }) => !known.has(name) && !known.has(name.replace(/^PROVIDERS_/, '')))).toEqual([]);
  });

  it('name no metric that is not exposed', () => {
    const metrics = exposedMetrics();
    // a provider's page speaks of its vendor's fields
    const ours = pages.filter((page) => !page.startsWith('providers/'));
    const named = ours.flatMap((page) => [...read(page).matchAll(/\bgpu_[a-z_]+(?=[`{])/g)].map(([name]) => ({ page, name })));
    expect(named.length).toBeGreaterThan(10);
    const fields = ['gpu_type', 'gpu_count', 'gpu_mismatch'];
    expect(named.filter(({ name }) => !metrics.has(name) && !fields.includes(name))).toEqual([]);
  });
});

describe('README.md', () => {
  it('has the configuration table that npm run generate writes', async () => {
    const rows = (text: string) =>
      text
        .split('\n')
        .filter((line) => /^\| `[A-Z]/.test(line))
        .map((line) => line.split('|').map((cell) => cell.trim()));
    expect(rows(read('README.md'))).toEqual(rows(await renderConfiguration()));
    expect(rows(read('README.md')).length).toBeGreaterThan(10);
  });
});

describe('docs/architecture.md', () => {
  it('lists every controller and no other', () => {
    const inCode = repositoryFiles()
      .filter((file) => /^src\/(controllers|server|tunnel)\/[a-z-]+\.ts$/.test(file))
      .flatMap((file) => [...read(file).matchAll(/\bname: '([a-z]+\.[a-z-]+)'/g)].map(([, name]) => name));
    const inTable = [...read('docs/architecture.md').matchAll(/^\| `([a-z]+\.[a-z-]+)` +\|/gm)].map(([, name]) => name);
    expect(inTable.length).toBeGreaterThan(10);
    expect(new Set(inTable)).toEqual(new Set(inCode));
  });
});

describe('the decisions', () => {
  const decisions = readdirSync(join(root, 'docs/adr')).sort();

  it('are numbered without gaps', () => {
    expect(decisions.map((file) => Number(file.slice(0, 4)))).toEqual(decisions.map((_, index) => index + 1));
  });

  it.each(decisions)('%s says context, decision, consequences and alternatives, on a page', (file) => {
    const text = read(`docs/adr/${file}`);
    expect(text.startsWith(`# ${file.slice(0, 4)}: `)).toBe(true);
    expect([...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title)).toEqual([
      'Context',
      'Decision',
      'Consequences',
      'Alternatives',
    ]);
    expect(text.split('\n').length).toBeLessThan(70);
  });
});

describe('the dashboard', () => {
  it('uses only metrics and labels that are exposed', async () => {
    const metrics = exposedMetrics();
    const expressions = await dashboardExpressions();
    expect(expressions.length).toBeGreaterThan(30);

    const faults = expressions.flatMap(({ panel, expr, shown }) => {
      const { names, labels } = namesIn(expr);
      const unknown = names.filter((name) => !metrics.has(name));
      const allowed = new Set(names.flatMap((name) => metrics.get(name) ?? []));
      const foreign = [...labels, ...shown].filter((label) => !allowed.has(label));
      return names.length > 0 && unknown.length === 0 && foreign.length === 0 ? [] : [{ panel, expr, unknown, foreign }];
    });

    expect(faults).toEqual([]);
  });
});

describe('the rules of Prometheus', () => {
  const rules = read('deploy/prometheus/rules/berth-leaks.yml');
  const named = (kind: string) => [...rules.matchAll(new RegExp(`^ +- ${kind}: (\\S+)$`, 'gm'))].map(([, name = '']) => name);
  const alerts = named('alert');

  it('ask only for metrics that are exposed, or recorded beside them', () => {
    const known = new Set([...exposedMetrics().keys(), ...named('record')]);
    const asked = rules
      .split('\n')
      .filter((line) => !line.trimStart().startsWith('#'))
      .flatMap((line) => [...line.matchAll(/\b(?:\w+:)?(?:gpu|http|berth)_[a-z_]+(?::\w+)?/g)].map(([name]) => name));

    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter((name) => !known.has(name))).toEqual([]);
  });

  it('are explained, each alert and no other', () => {
    const [, section = ''] = read('docs/operations.md').split('## When something may be leaking\n');
    const [text = ''] = section.split('\n## ');
    const explained = [...text.matchAll(/^\| `(Berth\w+)` /gm)].map(([, name]) => name);

    expect(alerts.length).toBeGreaterThan(10);
    expect(new Set(explained)).toEqual(new Set(alerts));
    expect(explained).toHaveLength(alerts.length);
  });

  it('point to sections that exist', () => {
    const pointers = [...rules.matchAll(/^ +runbook: (\S+)$/gm)].map(([, link = '']) => link);

    expect(pointers).toHaveLength(alerts.length);
    expect(pointers.filter((link) => !resolves('README.md', link))).toEqual([]);
  });

  it.each(alerts)('are tested to fire and not to: %s', (alert) => {
    const tests = read('deploy/prometheus/tests/berth-leaks.test.yml');
    const cases = [...tests.matchAll(new RegExp(`alertname: ${alert}\\n +exp_alerts:(.*)$`, 'gm'))].map(([, alarms = '']) =>
      alarms.trim(),
    );

    expect(new Set(cases)).toEqual(new Set(['', '[]']));
  });
});

/** A file beside the page, and a heading of it when the link names one. */
function resolves(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(join(root, target))) return false;
  if (anchor === undefined || !target.endsWith('.md')) return true;
  return [...read(target).matchAll(/^#+ (.+)$/gm)].some(([, title = '']) => slug(title) === anchor);
}

/** As code hosts make them. */
function slug(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

/** Each name that Prometheus stores, with its labels. */
function exposedMetrics(): ReadonlyMap<string, readonly string[]> {
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
  return storedMetrics(metrics.describe());
}
