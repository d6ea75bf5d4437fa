import { SECOND_MS } from '../../src/core/duration.ts';
import { formatSample } from '../../src/provider/key-hand-off.ts';
import { nvidiaSmi } from './nvidia-smi.ts';
import { readVirtualFile, VIRTUAL_FILES } from './virtual-files.ts';
import type { SimulatedMachine } from './simulated-machine.ts';

/** Where a command prints and what cuts it short. */
export interface CommandContext {
  readonly machine: SimulatedMachine;
  /** Other SSH connections to the machine than the one that asks. */
  readonly otherConnections: () => number;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly signal: AbortSignal;
}

type Command = (args: readonly string[], context: CommandContext) => number | Promise<number>;

const NOT_FOUND = 127;
export const INTERRUPTED = 130;
const LONGEST_SLEEP_MS = 3_600 * SECOND_MS;

/** One command with its arguments, found by name. */
export async function runCommand(name: string, args: readonly string[], context: CommandContext): Promise<number> {
  const bareName = name.replace(/^\/(?:usr\/)?(?:local\/)?s?bin\//, '');
  const command = Object.hasOwn(COMMANDS, bareName) ? COMMANDS[bareName] : undefined;
  return command === undefined ? refuse(name, context) : command(args, context);
}

/** For whatever a simulated machine does not know. */
export function refuse(command: string, { complain }: CommandContext): number {
  const shown = command.length > 60 ? `${command.slice(0, 59)}…` : command;
  complain(`simulated machine: ${shown}: not available (this GPU is simulated by Berth)\n`);
  return NOT_FOUND;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  true: () => 0,
  ':': () => 0,
  false: () => 1,
  echo: (args, { print }) => {
    const isBare = args[0] === '-n';
    print(args.slice(isBare ? 1 : 0).join(' ') + (isBare ? '' : '\n'));
    return 0;
  },
  'nvidia-smi': (args, context) => {
    const { gpu, gpuCount, id } = context.machine.record();
    if (gpu === undefined) return notFound('nvidia-smi', context);
    const utilisationPercent = context.machine.load().gpuPercent ?? 0;
    const { code, output } = nvidiaSmi(args, {
      ...gpu,
      instanceId: id,
      count: gpuCount,
      utilisationPercent,
      now: context.machine.clock.now(),
    });
    context.print(output);
    return code;
  },
  hostname: printed(({ record }) => record().tag),
  whoami: printed(() => 'root'),
  id: (args, { print }) => {
    print(
      args[0] === '-u' || args[0] === '-g' ? '0\n' : args[0] === '-un' ? 'root\n' : 'uid=0(root) gid=0(root) groups=0(root)\n',
    );
    return 0;
  },
  pwd: printed(() => '/root'),
  cd: (args, { complain }) => {
    if (args[0] === undefined || ['~', '/root', '.', '~/'].includes(args[0])) return 0;
    complain(`cd: ${args[0]}: there is only /root on a simulated machine\n`);
    return 1;
  },
  uname: (args, { machine, print }) => {
    const { tag } = machine.record();
    print(
      args[0] === '-a'
        ? `Linux ${tag} 6.8.0-simulated #1 SMP Berth x86_64 GNU/Linux\n`
        : `${UNAME[args[0] ?? '-s'] ?? 'Linux'}\n`,
    );
    return 0;
  },
  nproc: printed(({ record }) => String(record().cpuCores)),
  free: (args, { machine, print }) => {
    const { memoryMib } = machine.record();
    const scale = args.includes('-m') ? 1 : args.includes('-g') ? 1 / 1_024 : 1_024;
    const cells = [memoryMib, memoryMib * 0.02, memoryMib * 0.98, 0, 0, memoryMib * 0.98].map((mib) =>
      String(Math.floor(mib * scale)).padStart(12),
    );
    print(
      `               total        used        free      shared  buff/cache   available\nMem:    ${cells.join('')}\nSwap:   ${'0'.padStart(12).repeat(3)}\n`,
    );
    return 0;
  },
  df: (_args, { machine, print }) => {
    const { diskGb } = machine.record();
    print(`Filesystem      Size  Used Avail Use% Mounted on\nsimulated       ${diskGb}G  0.1G  ${diskGb}G   1% /\n`);
    return 0;
  },
  uptime: (_args, { machine, print }) => {
    const { createdAt, bootsAt = createdAt } = machine.record();
    print(`up ${Math.max(0, Math.floor((machine.clock.now() - bootsAt) / 60_000))} min, simulated\n`);
    return 0;
  },
  date: (args, { machine, print, complain }) => {
    const now = machine.clock.now();
    const format = args.find((arg) => arg.startsWith('+'));
    if (format === '+%s') print(`${Math.floor(now / 1_000)}\n`);
    else if (format === undefined) print(`${UTC_DATE.format(now).replaceAll(',', '')} UTC\n`);
    else return (complain(`date: only +%s is known on a simulated machine\n`), 1);
    return 0;
  },
  env: printEnvironment,
  printenv: (args, context) => {
    if (args[0] === undefined) return printEnvironment(args, context);
    const value = variablesOf(context.machine)[args[0]];
    if (value === undefined) return 1;
    context.print(`${value}\n`);
    return 0;
  },
  ls: (args, { print }) => {
    const isAll = args.some((arg) => /^-\w*a/i.test(arg));
    print(isAll ? '.ssh\nREADME\n' : 'README\n');
    return 0;
  },
  cat: (args, { machine, print, complain }) => {
    let code = 0;
    for (const path of args) {
      const text = readVirtualFile(path, machine);
      if (text === undefined) {
        complain(`cat: ${path}: No such file or directory (a simulated machine has ${VIRTUAL_FILES.join(', ')})\n`);
        code = 1;
      } else print(text);
    }
    return code;
  },
  command: (args, context) =>
    args[0] === '-v' ? which(args.slice(1), context) : runCommand(args[0] ?? 'true', args.slice(1), context),
  which,
  sleep: async (args, { machine, signal, complain }) => {
    const ms = secondsIn(args[0]);
    if (ms === undefined) return (complain('sleep: a number of seconds is wanted\n'), 1);
    return sleepOrStop(machine, Math.min(ms, LONGEST_SLEEP_MS), signal);
  },
  'gpu-burn': (args, context) =>
    context.machine.record().gpu === undefined ? notFound('gpu-burn', context) : burn(args, context),
  stress: burn,
  help: (_args, { print }) => {
    print(
      `This machine is simulated by Berth. It knows: ${Object.keys(COMMANDS)
        .filter((name) => name !== ':')
        .join(', ')}, exit.\n`,
    );
    return 0;
  },
};

const UNAME: Readonly<Record<string, string>> = { '-s': 'Linux', '-m': 'x86_64', '-r': '6.8.0-simulated', '-o': 'GNU/Linux' };
const UTC_DATE = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: '2-digit',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZone: 'UTC',
});

function printed(text: (machine: SimulatedMachine) => string): Command {
  return (_args, { machine, print }) => {
    print(`${text(machine)}\n`);
    return 0;
  };
}

function printEnvironment(_args: readonly string[], { machine, print }: CommandContext): number {
  for (const [name, value] of Object.entries(variablesOf(machine))) print(`${name}=${value}\n`);
  return 0;
}

function which(args: readonly string[], { machine, print }: CommandContext): number {
  const found = args.filter(
    (name) => Object.hasOwn(COMMANDS, name) && (machine.record().gpu !== undefined || !/^(nvidia-smi|gpu-burn)$/.test(name)),
  );
  for (const name of found) print(`/usr/bin/${name}\n`);
  return found.length === args.length && args.length > 0 ? 0 : 1;
}

/** `gpu-burn 60` until it is over or interrupted, `gpu-burn 60 &` for as long with nobody logged in. */
async function burn(args: readonly string[], { machine, signal, print, complain }: CommandContext): Promise<number> {
  const ms = secondsIn(args[0]);
  if (ms === undefined) return (complain('a number of seconds is wanted, as in: gpu-burn 60\n'), 1);
  if (args.at(-1) === '&') {
    await machine.leaveLoad(ms);
    return 0;
  }
  print(`burning for ${ms / SECOND_MS} s (simulated)\n`);
  const end = machine.beginLoad();
  try {
    return await sleepOrStop(machine, ms, signal);
  } finally {
    end();
  }
}

async function sleepOrStop({ clock }: SimulatedMachine, ms: number, signal: AbortSignal): Promise<number> {
  try {
    await clock.sleep(ms, signal);
    return 0;
  } catch (error) {
    if (signal.aborted) return INTERRUPTED;
    throw error;
  }
}

function secondsIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,7}(\.\d{1,3})?s?$/.test(text) ? Number.parseFloat(text) * SECOND_MS : undefined;
}

function notFound(name: string, { complain }: CommandContext): number {
  complain(`bash: ${name}: command not found (this offer has no GPU; the machine is simulated by Berth)\n`);
  return NOT_FOUND;
}

export function printSample({ machine, otherConnections, print }: CommandContext): number {
  print(`${formatSample({ ...machine.load(), sshConnections: otherConnections() })}\n`);
  return 0;
}

export function variablesOf(machine: SimulatedMachine): Record<string, string> {
  const { environment, tag } = machine.record();
  return {
    HOME: '/root',
    USER: 'root',
    SHELL: '/bin/bash',
    PATH: '/usr/local/bin:/usr/bin:/bin',
    BERTH_TAG: tag,
    ...environment,
  };
}
