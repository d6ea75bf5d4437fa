#!/usr/bin/env node
import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';

const complain = (line: string) => process.stderr.write(`${line}\n`);

const program = new Command('berth').description(
  'Self-hosted GPU-market broker: one inventory, verified SSH sessions, guaranteed destruction.',
);

program
  .command('serve', { isDefault: true })
  .description('run the broker; settings come from the environment and .env (see docs/configuration.md)')
  .option('--drain', 'on SIGTERM and SIGINT destroy every session and wait for it; without it sessions go on', false)
  .action(async ({ drain }: { drain: boolean }) => {
    const { serve } = await import('../server/main.ts');
    const code = await serve({ drain, complain });
    if (code !== undefined) process.exitCode = code;
  });

program
  .command('backup')
  .description('copy the SQLite database to a new file while the broker runs; keep secret.key with it')
  .argument('<file>', 'the copy; it must not exist yet')
  .action(async (file: string) => {
    const { backup } = await import('../server/backup.ts');
    process.exitCode = await backup({ file, say: (line) => process.stdout.write(`${line}\n`), complain });
  });

program
  .command('recover')
  .description('what bears a tag of Berth at all configured providers; works without the database (see docs/recovery.md)')
  .option('--deployment <id>', 'which deployment is this installation; else DEPLOYMENT_ID, else what the database says')
  .option('--json', 'print JSON', false)
  .action(async (options: { deployment?: string; json: boolean }) => {
    const { recover } = await import('../server/recover.ts');
    process.exitCode = await recover(options, { say: (line) => process.stdout.write(`${line}\n`), complain, ask });
  });

program
  .command('key')
  .description('make an API key, for API_KEYS')
  .argument('[consumer]', 'whose key it is; without one it is the key of the consumer "default"')
  .action(async (consumer: string | undefined) => {
    const { makeKey } = await import('../server/make-key.ts');
    const key = makeKey();
    process.stdout.write(`${consumer === undefined ? key : `${consumer}=${key}`}\n`);
  });

program.version(await version(), '-v, --version');
await program.parseAsync();

/** Only a terminal has a person behind it. */
async function ask(question: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

async function version(): Promise<string> {
  const { packageVersion } = await import('../server/package-version.ts');
  return packageVersion();
}
