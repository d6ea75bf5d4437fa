import { gzipSync } from 'node:zlib';
import { driverCommand } from './driver-command.ts';

/** The login of their images; it may use sudo without a password. */
export const LOGIN_USER = 'user';

/** `type base64 comment`, with nothing in it that a shell or YAML reads as anything else. */
const SSH_KEY = /^(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60} [A-Za-z0-9+/]{16,12000}={0,3}(?: [A-Za-z0-9@._+-]{0,255})?$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,255}$/;
/** What the plain file of variables carries unchanged; it knows no quoting. */
const PLAIN_VALUE = /^[A-Za-z0-9 _.,:;@%+=/~^!?*()[\]{}|<>&-]*$/;
/** Long enough for any boot. */
const ROOT_PROBE_KEY_LASTS = '1hour';

export interface BootOrder {
  /** The consumer's key first, then the verifier's. */
  readonly keys: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly onStart?: string;
  /** Installed where no GPU driver works; undefined installs nothing. */
  readonly driverPackage: string | undefined;
}

/** What of an order could be misread on its way; undefined when nothing could. */
export function faultOfBoot({ keys, environment }: Pick<BootOrder, 'keys' | 'environment'>): string | undefined {
  if (keys.length === 0) return 'an SSH public key is needed';
  if (!keys.every((key) => SSH_KEY.test(key))) return 'an SSH public key is not one line of "type base64"';
  if (!Object.keys(environment).every((name) => VARIABLE.test(name)))
    return 'the name of an environment variable has other characters than A-Z a-z 0-9 _';
  return undefined;
}

/**
 * The commands of the first boot, run by root with sh, one after the other, whatever becomes of the one before. Each is one line that
 * is also plain YAML, since nobody says how they are passed on. Keys and names hold no character that sh reads; every other text of a
 * consumer is base64 (REL-K9). Call `faultOfBoot` first.
 */
export function bootCommands({ keys, environment, onStart, driverPackage }: BootOrder): readonly string[] {
  return [
    ...keyCommands(keys),
    ...variableCommands(environment),
    ...(driverPackage === undefined ? [] : [driverCommand(driverPackage)]),
    ...(onStart === undefined ? [] : startCommands(onStart)),
  ];
}

/** Into both homes, since the key field of the create is not always obeyed. */
function keyCommands([own = '', ...probes]: readonly string[]): readonly string[] {
  const [root, user] = ['/root/.ssh', `/home/${LOGIN_USER}/.ssh`];
  return [
    `mkdir -p ${root} ${user}`,
    // what stands there may lack the newline at its end
    `echo >> ${root}/authorized_keys`,
    `echo >> ${user}/authorized_keys`,
    `echo '${own}' >> ${root}/authorized_keys`,
    `echo '${own}' >> ${user}/authorized_keys`,
    // the hand-off takes the verifier's line out of the login user's file alone: in root's it ends by itself
    ...probes.map((key) => `echo "${expiry()} ${key}" >> ${root}/authorized_keys`),
    ...probes.map((key) => `echo '${key}' >> ${user}/authorized_keys`),
    `chmod 700 ${root} ${user}`,
    `chmod 600 ${root}/authorized_keys ${user}/authorized_keys`,
    `chown -R ${LOGIN_USER}:${LOGIN_USER} ${user}`,
  ];
}

function expiry(): string {
  return `expiry-time=\\"$(date -d +${ROOT_PROBE_KEY_LASTS} +%Y%m%d%H%M)\\"`;
}

/** For login shells to the letter; for commands over SSH as far as the file for those can hold them. */
function variableCommands(environment: Readonly<Record<string, string>>): readonly string[] {
  const variables = Object.entries(environment);
  if (variables.length === 0) return [];
  const exported = variables.map(([name, value]) => `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'\n`);
  const plain = variables.flatMap(([name, value]) => (PLAIN_VALUE.test(value) ? [`${name}="${value}"\n`] : []));
  return [
    `echo ${encode(exported.join(''))} | base64 -d > /etc/profile.d/berth.sh`,
    'chmod 644 /etc/profile.d/berth.sh',
    `echo ${encode(`\n${plain.join('')}`)} | base64 -d >> /etc/environment`,
  ];
}

const SHEBANG = '#!';

function startCommands(onStart: string): readonly string[] {
  const script = onStart.startsWith(SHEBANG) ? onStart : `#!/bin/sh\n${onStart}\n`;
  const plain = encode(script);
  const packed = gzipSync(script, { level: 9 }).toString('base64');
  const unpack = packed.length < plain.length ? `echo ${packed} | base64 -d | gzip -dc` : `echo ${plain} | base64 -d`;
  return [
    `${unpack} > /root/.berth-on-start`,
    'chmod 700 /root/.berth-on-start',
    // in a shell of its own, so that it cannot end the others, and without an input that never ends
    '(export HOME=/root; test ! -r /etc/profile.d/berth.sh || . /etc/profile.d/berth.sh; exec /root/.berth-on-start) < /dev/null',
  ];
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
