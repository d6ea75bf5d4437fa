#!/usr/bin/env node
import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';

/** As commander parses the options of `recover`. */
interface RecoverOptions {
  readonly deployment?: string;
  readonly json: boolean;
  readonly destroy: boolean;
  readonly adopt: boolean;
  readonly mode?: string;
  readonly consumer: string;
  readonly keep: string;
  readonly all: boolean;
  readonly yes: boolean;
  readonly verify: boolean;
  readonly for: string;
}

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
  .description('list what bears a tag of Berth at all configured providers, without the database; end it, or take it in')
  .argument('[instances...]', 'with --destroy or --adopt: instance ids, as `id` or `provider/id`, or tags')
  .option('--deployment <id>', 'which deployment is meant; for a list else DEPLOYMENT_ID, else what the database says')
  .option('--json', 'print JSON', false)
  .option('--destroy', 'destroy the instances named; needs --deployment, and a person who types its id', false)
  .option('--adopt', 'make rows in the database (broker stopped) for instances that have none', false)
  .option('--consumer <name>', 'with --adopt: whose they shall be', 'operator')
  .option('--keep <duration>', 'with --adopt: how long they are kept from now', '1h')
  .option('--mode <on|off>', 'begin or end recovery mode (broker stopped)')
  .option('--list', 'what it does when nothing else is said', false)
  .option('--all', 'every instance of the deployment', false)
  .option('--yes', 'for scripts: nobody is asked before a destroy or the end of recovery mode', false)
  .option('--verify', "with --destroy: go on until absence is a verdict by the provider's own policy", false)
  .option('--for <duration>', 'with --destroy: how long to go on at most', '15m')
  .action(async (instances: string[], options: RecoverOptions) => {
    const { recover } = await import('../server/recover.ts');
    const say = (line: string) => process.stdout.write(`${line}\n`);
    process.exitCode = await recover({ ...options, instances }, { say, complain, ask });
  });

const audit = program
  .command('audit')
  .description('the audit log of the configured database, which may be in use: check it, or copy it out');

audit
  .command('verify')
  .description('check that no row was edited, moved or removed; exit code 1 when one was')
  .option('--session <id>', "only this session's chain")
  .option('--head <hash>', "a hash that was noted elsewhere, of the installation's chain: it has to be there")
  .action(async (options: { session?: string; head?: string }) => {
    const { verifyAudit } = await import('../server/audit.ts');
    process.exitCode = await verifyAudit({ ...options, say: (line) => process.stdout.write(`${line}\n`), complain });
  });

audit
  .command('export')
  .description('write every row as a line of JSON')
  .argument('<file>', 'it must not exist yet')
  .action(async (file: string) => {
    const { exportAudit } = await import('../server/audit.ts');
    process.exitCode = await exportAudit({ file, say: (line) => process.stdout.write(`${line}\n`), complain });
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
