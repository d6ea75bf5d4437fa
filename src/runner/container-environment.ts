import { RunnerFailure } from '../runner-protocol/runner-link.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/**
 * Names that reach more than the program they are meant for: the loader and the shell of the start program, and the hooks that the GPU
 * runtime runs on the machine itself (CVE-2025-23266). The GPU runtime would also take NVIDIA_VISIBLE_DEVICES for an order.
 */
const FORBIDDEN: readonly RegExp[] = [
  /^LD_/,
  /^NVIDIA_/,
  /^(PATH|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND)$/,
  /^BASH_FUNC_/,
  /^(GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH|RESOLV_HOST_CONF|HOSTALIASES)$/,
  /^(OPENSSL_CONF|OPENSSL_MODULES|OPENSSL_ENGINES)$/,
  /^SSH_PUBLIC_KEYS$/,
  /^BERTH_(?!TAG$)/,
];

/** Docker's form of the variables, the tag among them. Throws `refused`, naming the first variable that may not be set. */
export function containerEnvironment(environment: Readonly<Record<string, string>>, tag: string): string[] {
  for (const [name, value] of Object.entries(environment)) {
    if (!NAME.test(name)) throw refuse(name, 'use letters, digits and underscores, and no digit first');
    if (FORBIDDEN.some((pattern) => pattern.test(name.toUpperCase()))) {
      throw refuse(name, 'it would change how the container itself is started; set it inside, after login');
    }
    if (value.includes('\0')) throw refuse(name, 'its value holds a zero byte');
  }
  return Object.entries({ ...environment, BERTH_TAG: tag }).map(([name, value]) => `${name}=${value}`);
}

/** The same variables as sshd reads them for a login (`~/.ssh/environment`); those of several lines have no form there. */
export function loginEnvironment(variables: readonly string[]): string {
  return variables
    .filter((line) => !/[\r\n]/.test(line))
    .map((line) => `${line}\n`)
    .join('');
}

function refuse(name: string, why: string): RunnerFailure {
  return new RunnerFailure('refused', `environment variable ${name.slice(0, 80)} is not allowed: ${why}`);
}
