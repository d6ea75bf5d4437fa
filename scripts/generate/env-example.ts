import { providerModules } from '../../providers/index.ts';
import { listProviderSettings } from './list-provider-settings.ts';
import { listSettings } from '../../src/config/list-settings.ts';

export const file = '.env.example';

const WIDTH = 110;

interface Shown {
  readonly variable: string;
  readonly aliases?: readonly string[];
  readonly description: string;
  readonly default?: string;
  readonly example?: string;
}

/** Every variable that anything reads, commented out, with its default: copied as it is, it changes nothing. */
export async function render(): Promise<string> {
  const sections = [
    ...listSettings(),
    ...providerModules.map((module) => ({ title: `Provider ${module.id}`, settings: listProviderSettings(module) })),
  ];
  const head = [
    '# Berth reads this file as .env in the folder where it is started. The real environment beats it, and an empty value means unset.',
    '# A variable that begins with the name of a provider may also be written with PROVIDERS_ in front.',
    '# Each line shows the default; take away the # and change it. Made by npm run generate from src/config and providers/.',
  ];
  return `${[head.join('\n'), ...sections.map(sectionText)].join('\n\n')}\n`;
}

function sectionText({ title, settings }: { title: string; settings: readonly Shown[] }): string {
  return [`# ---- ${title} ----`, ...settings.map(settingText)].join('\n\n');
}

function settingText({ variable, aliases = [], description, default: fallback, example }: Shown): string {
  const also = aliases.length > 0 ? ` Also read as ${aliases.join(', ')}.` : '';
  const shown = fallback === undefined && example !== undefined ? ` Example: ${example}` : '';
  return [...wrapped(`${description}${also}${shown}`).map((line) => `# ${line}`), `#${variable}=${fallback ?? ''}`].join('\n');
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
