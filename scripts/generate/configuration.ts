import { providerModules } from '../../providers/index.ts';
import { listProviderSettings } from './list-provider-settings.ts';
import { listSettings } from '../../src/config/list-settings.ts';

export const file = 'docs/configuration.md';

const INTRODUCTION = `<!-- Made by npm run generate from src/config and providers/. Do not edit. -->

# Configuration

Berth is configured by environment variables. It also reads \`.env\` in the folder where it is started; **the real environment beats
\`.env\`**, and an empty value means unset. [\`.env.example\`](../.env.example) lists every variable with its default.

- Durations carry their unit: \`90s\`, \`1h30m\`, \`7d\`. A bare number is refused.
- Switches are \`true\` or \`false\`; \`1\`, \`yes\`, \`on\` and \`0\`, \`no\`, \`off\` mean the same.
- Whatever is wrong is reported at once, one line for each fault with the variable's name and an example, and the broker does not start
  (exit code 78). Values of secrets are never printed.
- A name that looks like one of ours and that nothing reads is a warning at start, with the name that was probably meant.
- Where a variable has a second name, either works. The two may not say different things.
- With API keys configured, callers send \`Authorization: Bearer <key>\`. Without keys nobody is asked, so any \`SERVER_HOST\` that other
  machines can reach is refused, unless \`AUTH=none\` says that this is meant.

Stored secrets are encrypted with the key in \`secret.key\`, beside the database, made at the first start with mode 0600. **Back it up
with the database**: without it the stored secrets cannot be read. \`SECRET_KEY_FILE\` names another file, which must exist.

A provider is on when what it needs is set. \`PROVIDERS_<ID>_ENABLED=false\` turns it off whatever else is set. A variable that begins
with the provider's name may also be written with \`PROVIDERS_\` in front: \`POOL_IMAGE\` and \`PROVIDERS_POOL_IMAGE\` are the same.
`;

interface Shown {
  readonly variable: string;
  readonly aliases?: readonly string[];
  readonly description: string;
  readonly default?: string;
}

/** The reference of all variables. */
export async function render(): Promise<string> {
  const sections = listSettings().map(({ title, settings }) => ({ title, settings: settings as readonly Shown[] }));
  const providers = providerModules.map((module) => ({
    title: `Provider \`${module.id}\``,
    settings: listProviderSettings(module) as readonly Shown[],
  }));
  return [INTRODUCTION, ...[...sections, ...providers].map(table)].join('\n');
}

function table({ title, settings }: { title: string; settings: readonly Shown[] }): string {
  const rows = settings.map(({ variable, aliases = [], description, default: fallback }) => {
    const names = [variable, ...aliases].map((name) => `\`${name}\``).join('<br>');
    return `| ${names} | ${fallback === undefined ? '' : `\`${fallback}\``} | ${cell(description)} |`;
  });
  return [`## ${title}`, '', '| Variable | Default | What it is for |', '| --- | --- | --- |', ...rows, ''].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
