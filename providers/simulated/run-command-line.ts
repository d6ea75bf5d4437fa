import { formatHandOffAnswer, parseHandOffCommand, SAMPLE_COMMAND } from '../../src/provider/key-hand-off.ts';
import { parseCommandLine } from './command-line.ts';
import { INTERRUPTED, printSample, refuse, runCommand, variablesOf } from './commands.ts';
import type { CommandContext } from './commands.ts';

export interface CommandResult {
  readonly code: number;
  /** The line said exit. */
  readonly endsShell: boolean;
}

const CAN_RUN_IN_BACKGROUND = ['gpu-burn', 'stress'];

/** Runs one line as a login shell would, as far as a simulated machine can. Rejects only for faults of our own. */
export async function runCommandLine(line: string, context: CommandContext, lastCode = 0): Promise<CommandResult> {
  const handOff = parseHandOffCommand(line);
  if (handOff !== undefined) {
    context.print(`${formatHandOffAnswer(await context.machine.handOff(handOff))}\n`);
    return { code: 0, endsShell: false };
  }
  if (line === SAMPLE_COMMAND) return { code: printSample(context), endsShell: false };

  const steps = parseCommandLine(line, { ...variablesOf(context.machine), '?': String(lastCode) });
  if (steps === undefined) return { code: refuse(line, context), endsShell: false };
  let code = lastCode;
  for (const { when, words, isInBackground } of steps) {
    if ((when === 'succeeded' && code !== 0) || (when === 'failed' && code === 0)) continue;
    const [name = '', ...args] = words;
    if (name === 'exit' || name === 'logout')
      return { code: args[0] === undefined ? code : Number(args[0]) & 0xff, endsShell: true };
    if (!isInBackground) code = await runCommand(name, args, context);
    else if (CAN_RUN_IN_BACKGROUND.includes(name)) code = await runCommand(name, [...args, '&'], context);
    else code = refuse(`${words.join(' ')} &`, context);
    if (context.signal.aborted) return { code: INTERRUPTED, endsShell: false };
  }
  return { code, endsShell: false };
}

/** What a key with a forced command gets, whatever it asks for. */
export function runForcedCommand(command: string, context: CommandContext): number {
  return command === SAMPLE_COMMAND ? printSample(context) : refuse(command, context);
}
