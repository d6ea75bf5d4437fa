import { spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

/** The repository's root folder. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** The path of a script inside an installed package: `packageScript('typescript', 'bin/tsc')`. Started by node itself, with no shell between. */
export function packageScript(name, script) {
  return join(root, 'node_modules', name, script);
}

/**
 * Runs a program to its end and gives its exit code (a signal counts as 1) and what it printed, without colours.
 * With `show: true` the output is passed on as it comes, and not kept. Ends the child when this process is told to end.
 */
function runProgram(program, programArguments, { cwd = root, env = {}, show = false } = {}) {
  return new Promise((done, fail) => {
    const child = spawn(program, programArguments, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    const pass = (signal) => child.kill(signal);
    process.on('SIGTERM', pass).on('SIGINT', pass);
    const settle = () => process.off('SIGTERM', pass).off('SIGINT', pass);
    child.on('error', (error) => {
      settle();
      fail(error);
    });
    child.on('close', (code) => {
      settle();
      done({ code: code ?? 1, output: stripVTControlCharacters(Buffer.concat(output).toString('utf8')).trimEnd() });
    });
  });
}

export function runNode(script, scriptArguments = [], options = {}) {
  return runProgram(process.execPath, [script, ...scriptArguments], options);
}

/** For a script that starts one program after the other: told to end, it ends with those that run, and begins no other. */
export function endWhenTold() {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])
    process.once(signal, () => setImmediate(() => process.exit(code))); // the programs hear of it first
}
