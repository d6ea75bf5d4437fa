import { readFile } from 'node:fs/promises';
import { providerModules } from '../../providers/index.ts';
import { listProviderSettings } from './list-provider-settings.ts';
import { listSettings } from '../../src/config/list-settings.ts';

export const file = 'README.md';

const BEGIN = '<!-- configuration: begin, made by npm run generate -->';
const END = '<!-- configuration: end -->';

/** What most installations set; docs/configuration.md has all of them. */
const SHOWN = [
  'SERVER_HOST',
  'SERVER_PORT',
  'API_KEYS',
  'DATABASE_PATH',
  'DATABASE_URL',
  'LOG_LEVEL',
  'LOG_FORMAT',
  'DEFAULT_RESERVATION_HOURS',
  'LIFECYCLE_HARD_MAX_HOURS',
  'SSH_VERIFY_TIMEOUT',
  'PROVIDERS_POOL_ENABLED',
  'POOL_IMAGE',
  'POOL_PRICE_PER_HOUR',
  'POOL_MAX_SESSIONS',
  'PROVIDERS_SIMULATED_ENABLED',
  'SIMULATED_BOOT_SECONDS',
  'SIMULATED_FAULTS',
];

interface Shown {
  readonly variable: string;
  readonly description: string;
  readonly default?: string;
}

/** The README as it is, with the table between its two marks made anew. */
export async function render(): Promise<string> {
  const readme = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${file} has lost the marks "${BEGIN}" and "${END}"`);
  return [before, BEGIN, '\n\n', table(), '\n\n', END, after].join('');
}

function table(): string {
  const settings: readonly Shown[] = [
    ...listSettings().flatMap((section) => section.settings),
    ...providerModules.flatMap((module) => listProviderSettings(module)),
  ];
  const rows = SHOWN.map((variable) => {
    const setting = settings.find((candidate) => candidate.variable === variable);
    if (!setting) throw new Error(`no setting is named ${variable} any more: take it out of the README's table`);
    return `| \`${variable}\` | ${setting.default === undefined ? '' : `\`${setting.default}\``} | ${cell(setting.description)} |`;
  });
  return ['| Variable | Default | What it is for |', '| --- | --- | --- |', ...rows].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
