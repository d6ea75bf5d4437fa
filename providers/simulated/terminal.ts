import { StringDecoder } from 'node:string_decoder';
import type { CommandResult } from './run-command-line.ts';

/** What a shell needs of the other end. */
export interface TerminalEnds {
  /** With a terminal lines are edited, echoed and prompted for; without one they are only read. */
  readonly hasTerminal: boolean;
  readonly prompt: string;
  readonly write: (text: string) => void;
  /** Runs a line; the signal aborts at Ctrl-C and at the end of the connection. */
  readonly run: (line: string, signal: AbortSignal, lastCode: number) => Promise<CommandResult>;
  /** Called once. */
  readonly end: (code: number) => void;
  readonly fail: (error: unknown) => void;
}

export interface Terminal {
  receive(bytes: Buffer): void;
  /** No more input will come: what is there is still run. */
  finish(): void;
  /** The other end is gone. */
  abort(): void;
}

const LONGEST_LINE = 4_096;
const MOST_WAITING_LINES = 1_000;
const CTRL_C = '\x03';
const CTRL_D = '\x04';
const CTRL_U = '\x15';

/** A small interactive shell: one line after the other, backspace, Ctrl-C, Ctrl-D, Ctrl-U; other keys' sequences are swallowed. */
export function createTerminal({ hasTerminal, prompt, write, run, end, fail }: TerminalEnds): Terminal {
  const decoder = new StringDecoder('utf8');
  const waiting: string[] = [];
  let line = '';
  let escape = '';
  let lastCode = 0;
  let current: AbortController | undefined;
  let state: 'open' | 'finishing' | 'ended' = 'open';

  const echo = (text: string) => hasTerminal && current === undefined && write(text);
  if (hasTerminal) write(prompt);

  function receive(bytes: Buffer): void {
    for (const character of decoder.write(bytes)) {
      if (state === 'ended') return;
      if (hasTerminal) type(character);
      else if (character === '\n') enter();
      else append(character);
    }
  }

  function type(character: string): void {
    if (escape !== '') return swallow(character);
    switch (character) {
      case '\x1b':
        escape = character;
        return;
      case '\r':
      case '\n':
        echo('\r\n');
        return enter();
      case '\x7f':
      case '\b':
        if (line === '') return;
        line = [...line].slice(0, -1).join('');
        return void echo('\b \b');
      case CTRL_U:
        echo('\b \b'.repeat([...line].length));
        line = '';
        return;
      case CTRL_C:
        waiting.length = 0;
        line = '';
        write('^C\r\n');
        if (current === undefined && state === 'open') write(prompt);
        current?.abort(new Error('interrupted'));
        return;
      case CTRL_D:
        if (line === '') finish();
        return;
      default:
        if (character < ' ') return;
        append(character);
        echo(character);
    }
  }

  /** ESC, then `[` or `O`, then parameters, then a letter or `~`. */
  function swallow(character: string): void {
    escape += character;
    const isOpen = escape.length < 16 && (escape === '\x1b[' || escape === '\x1bO' || !/[a-z~]/i.test(character));
    if (!isOpen) escape = '';
  }

  function append(character: string): void {
    if (line.length < LONGEST_LINE) line += character;
  }

  function enter(): void {
    if (waiting.length < MOST_WAITING_LINES) waiting.push(line);
    line = '';
    next();
  }

  function next(): void {
    if (current !== undefined || state === 'ended') return;
    const command = waiting.shift();
    if (command === undefined) {
      if (state === 'finishing') close(lastCode);
      return;
    }
    const controller = new AbortController();
    current = controller;
    run(command, controller.signal, lastCode).then(
      ({ code, endsShell }) => {
        current = undefined;
        lastCode = code;
        if (endsShell) return close(code);
        if (hasTerminal && state === 'open') write(prompt);
        next();
      },
      (error: unknown) => {
        current = undefined;
        fail(error);
        close(1);
      },
    );
  }

  function finish(): void {
    if (state !== 'open') return;
    if (!hasTerminal && line !== '') enter();
    state = 'finishing';
    if (hasTerminal) write('logout\r\n');
    next();
  }

  function close(code: number): void {
    if (state === 'ended') return;
    state = 'ended';
    end(code);
  }

  return {
    receive,
    finish,
    abort() {
      state = 'ended';
      current?.abort(new Error('the connection is gone'));
    },
  };
}
