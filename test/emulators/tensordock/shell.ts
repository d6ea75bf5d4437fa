import { COMMANDS } from './shell-commands.ts';
import type { Input } from './shell-commands.ts';
import { parseShell, UnsupportedShell } from './shell-syntax.ts';
import type { Command, Redirect, Script, Step, Word } from './shell-syntax.ts';
import type { VirtualDisk } from './virtual-disk.ts';

interface Scope {
  readonly disk: VirtualDisk;
  readonly variables: Map<string, string>;
  readonly input: Input;
  print(text: string): void;
  /** Counts down, so that a loop without an end has one. */
  readonly fuel: { left: number };
  lastCode: number;
}

class Exit extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Leaves one round of the innermost loop, or the loop. */
class Jump extends Error {
  readonly kind: 'break' | 'continue';
  constructor(kind: 'break' | 'continue') {
    super(kind);
    this.kind = kind;
  }
}

const LONGEST_RUN = 20_000;
const NOT_SYNTAX = 2;
const WRAPPERS = ['exec', 'nohup', 'eval', 'command', 'builtin', 'env', 'timeout', 'nice'];
/** Ask whether something is in the way: nothing is. */
const NEVER_TRUE = ['pgrep', 'fuser', 'lsof', 'killall', 'pkill', 'diff'];

/**
 * Runs orders as root on a virtual disk, one after the other in one shell, as cloud-init does: nothing touches the real machine. What fails
 * is passed over; an `exit`, or an order that no shell could read, ends all.
 */
export function runShell(disk: VirtualDisk, orders: readonly (string | readonly string[])[]): void {
  const scope: Scope = {
    disk,
    variables: new Map([['HOME', '/root']]),
    input: { text: '' },
    print: () => {},
    fuel: { left: LONGEST_RUN },
    lastCode: 0,
  };
  try {
    for (const order of orders) runScript(scope, parseShell(typeof order === 'string' ? order : quoted(order)));
  } catch (error) {
    if (!(isEnd(error) || error instanceof SyntaxError || error instanceof UnsupportedShell)) throw error;
  }
}

/** Throws for what only a real shell could run. What is no shell at all is the vendor's to find. */
export function checkShell(orders: readonly (string | readonly string[])[]): void {
  for (const order of orders) {
    try {
      if (typeof order === 'string') parseShell(order);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
}

function isEnd(error: unknown): error is Exit | Jump {
  return error instanceof Exit || error instanceof Jump;
}

/** As the system runs a list of words, without a shell reading them. */
function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
}

function runSource(scope: Scope, source: string): number {
  try {
    return runApart(scope, parseShell(source));
  } catch (error) {
    if (error instanceof SyntaxError) return NOT_SYNTAX;
    throw error;
  }
}

/** As a process of its own: its exit and its variables are its own. */
function runApart(scope: Scope, script: Script): number {
  const { actor, umask } = scope.disk;
  try {
    return runScript({ ...fresh(scope), variables: new Map(scope.variables) }, script);
  } catch (error) {
    if (isEnd(error)) return error instanceof Exit ? error.code : 0;
    throw error;
  } finally {
    Object.assign(scope.disk, { actor, umask });
  }
}

function runScript(scope: Scope, script: Script): number {
  for (const step of script) {
    const isDue = step.after === 'any' || (step.after === 'success') === (scope.lastCode === 0);
    if (isDue && step.isBackground) scope.lastCode = runBehind(scope, step);
    else if (isDue) scope.lastCode = runStep(scope, step);
  }
  return scope.lastCode;
}

/** It is over before anybody looks, even if it has no end. */
function runBehind(scope: Scope, step: Step): number {
  runApart({ ...scope, fuel: { left: LONGEST_RUN } }, [{ ...step, after: 'any', isBackground: false }]);
  return 0;
}

function runStep(scope: Scope, { commands, isNegated }: Step): number {
  let { input } = scope;
  let code = 0;
  for (const [index, command] of commands.entries()) {
    const isLast = index === commands.length - 1;
    let printed = '';
    const print = isLast ? scope.print : (text: string) => void (printed += text);
    code = runCommand({ ...scope, input, print }, command);
    input = { text: printed };
  }
  return isNegated ? (code === 0 ? 1 : 0) : code;
}

function runCommand(scope: Scope, command: Command): number {
  scope.fuel.left -= 1;
  if (scope.fuel.left < 0) throw new Exit(124);
  const { redirects } = command;
  const last = redirects.findLast(({ fd, kind }) => fd === 1 && (kind === '>' || kind === '>>'));
  const source = redirects.findLast(({ kind }) => kind === '<' || kind === '<<');
  const input = source === undefined ? scope.input : inputFrom(scope, source);
  if (input === undefined) return 1;
  let printed = '';
  const inner = { ...scope, input, print: last === undefined ? scope.print : (text: string) => void (printed += text) };
  const code = runBare(inner, command);
  scope.lastCode = code;
  if (last === undefined) return code;
  const [path = ''] = expand(scope, last.target);
  return scope.disk.write(path, printed, last.kind === '>>' ? 'append' : 'replace') ? code : 1;
}

function inputFrom(scope: Scope, { kind, target }: Redirect): Input | undefined {
  const [text = ''] = expand(scope, kind === '<<' ? target.map((part) => ({ ...part, isQuoted: true })) : target);
  const content = kind === '<<' ? text : text.startsWith('/dev/') ? '' : scope.disk.read(text);
  return content === undefined ? undefined : { text: content };
}

function runBare(scope: Scope, command: Command): number {
  switch (command.kind) {
    case 'group':
      return command.isSubshell ? runApart(scope, command.body) : runScript(scope, command.body);
    case 'if': {
      const branch = command.branches.find(({ when }) => runScript(fresh(scope), when) === 0);
      return runScript(fresh(scope), branch?.body ?? command.otherwise);
    }
    case 'for': {
      let code = 0;
      for (const value of command.words.flatMap((word) => expand(scope, word))) {
        scope.variables.set(command.name, value);
        const round = runRound(scope, command.body);
        if (round === 'break') break;
        code = round;
      }
      return code;
    }
    case 'while': {
      let code = 0;
      while ((runScript(fresh(scope), command.when) === 0) !== command.isUntil) {
        const round = runRound(scope, command.body);
        if (round === 'break') break;
        code = round;
      }
      return code;
    }
    case 'case': {
      const text = expand(scope, command.word).join(' ');
      const branch = command.branches.find(({ patterns }) =>
        patterns.some((pattern) => globOf(expand(scope, pattern).join(' ')).test(text)),
      );
      return branch === undefined ? 0 : runScript(fresh(scope), branch.body);
    }
    case 'simple':
      return runSimple(scope, command);
  }
}

function runRound(scope: Scope, body: Script): number | 'break' {
  try {
    return runScript(fresh(scope), body);
  } catch (error) {
    if (!(error instanceof Jump)) throw error;
    return error.kind === 'break' ? 'break' : 0;
  }
}

function globOf(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '[^]*').replaceAll('?', '.')}$`);
}

/** The same files, variables and input; no code of a command before. */
function fresh(scope: Scope): Scope {
  return { ...scope, lastCode: 0 };
}

function runSimple(scope: Scope, { assignments, words }: Command & { kind: 'simple' }): number {
  for (const [name, value] of assignments) scope.variables.set(name, expand(scope, value).join(' '));
  const [name, ...args] = words.flatMap((word) => expand(scope, word));
  return name === undefined ? 0 : runNamed(scope, name, args);
}

function runNamed(scope: Scope, name: string, args: readonly string[]): number {
  const bare = name.replace(/^\/(usr\/)?s?bin\//, '');
  if (bare === 'exit') throw new Exit(Number(args[0] ?? scope.lastCode));
  if (bare === 'break' || bare === 'continue') throw new Jump(bare);
  if (NEVER_TRUE.includes(bare)) return 1;
  if (bare === 'command' && args[0] === '-v') return 0;
  if (['sudo', 'su', 'runuser'].includes(bare)) return runAs(scope, bare, args);
  if (bare === 'sh' || bare === 'bash' || bare === 'dash') return runNested(scope, args);
  if (WRAPPERS.includes(bare)) {
    const [next, ...rest] = args.filter((each, index) => index > 0 || !/^-|^\d+[smh]?$/.test(each));
    return next === undefined ? 0 : runNamed(scope, next, rest);
  }
  const script = bare.startsWith('/') ? scope.disk.read(bare) : undefined;
  if (script !== undefined) return runSource(fresh(scope), script);
  const outcome = Object.hasOwn(COMMANDS, bare) ? (COMMANDS[bare]?.(args, scope) ?? 0) : 0;
  return typeof outcome === 'number' ? outcome : outcome ? 0 : 1;
}

/** `sudo -u user …`, `runuser -u user -- …`, `su - user -c '…'`; without a user as root. */
function runAs(scope: Scope, name: string, args: readonly string[]): number {
  const flag = args.findIndex((each) => /^(-u|--user)$/.test(each));
  const order = args.findIndex((each) => /^-\w*c$/.test(each));
  const named = args.find((each) => !each.startsWith('-'));
  const user = flag >= 0 ? args[flag + 1] : name === 'sudo' ? 'root' : named;
  const from = args.findIndex((each, index) => !each.startsWith('-') && (flag < 0 || index > flag + 1));
  const { actor } = scope.disk;
  scope.disk.actor = user ?? 'root';
  try {
    const home = user === undefined || user === 'root' ? '/root' : `/home/${user}`;
    const inner = { ...scope, variables: new Map([...scope.variables, ['HOME', home]]) };
    if (order >= 0 && name !== 'sudo') return runSource(inner, args[order + 1] ?? '');
    const [next, ...rest] = from < 0 ? [] : args.slice(from);
    return next === undefined ? 0 : runNamed(inner, next, rest);
  } finally {
    scope.disk.actor = actor;
  }
}

function runNested(scope: Scope, args: readonly string[]): number {
  const flag = args.findIndex((each) => /^-\w*c$/.test(each));
  const path = args.find((each) => !each.startsWith('-'));
  const source = flag >= 0 ? args[flag + 1] : path === undefined ? scope.input.text : scope.disk.read(path);
  return source === undefined ? 127 : runSource(fresh(scope), source);
}

/** The words that one word becomes: an unquoted value falls apart at its spaces, an empty one disappears. */
function expand(scope: Scope, word: Word): string[] {
  const words: string[] = [];
  let current: string | undefined;
  for (const part of word) {
    const text = part.kind === 'text' ? homeOf(scope, part.text, part.isQuoted || current !== undefined) : valueOf(scope, part);
    if (part.kind === 'text' || part.isQuoted) {
      current = (current ?? '') + text;
      continue;
    }
    const pieces = text.split(/\s+/);
    for (const [index, piece] of pieces.entries()) {
      if (index > 0 && current !== undefined) {
        words.push(current);
        current = undefined;
      }
      if (piece !== '') current = (current ?? '') + piece;
    }
  }
  if (current !== undefined) words.push(current);
  return words;
}

function valueOf(scope: Scope, part: Exclude<Word[number], { kind: 'text' }>): string {
  if (part.kind === 'variable') {
    if (part.name === '?') return String(scope.lastCode);
    const value = scope.variables.get(part.name);
    return value === undefined || value === '' ? (part.fallback ?? '') : value;
  }
  let printed = '';
  runScript({ ...fresh(scope), print: (text) => void (printed += text) }, part.script);
  return printed.replace(/\n+$/, '');
}

function homeOf(scope: Scope, text: string, isPlain: boolean): string {
  if (isPlain || !text.startsWith('~')) return text;
  return text.replace(/^~(\w*)/, (_all, name: string) =>
    name === '' ? (scope.variables.get('HOME') ?? '') : name === 'root' ? '/root' : `/home/${name}`,
  );
}
