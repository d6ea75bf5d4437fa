import { restrictedLine } from '../../src/provider/key-hand-off.ts';
import type { HandOff, HandOffAnswer } from '../../src/provider/key-hand-off.ts';

/** A line of an `authorized_keys` file as far as a login needs it. */
export interface AuthorizedKey {
  readonly type: string;
  readonly blob: Buffer;
  /** With `restrict` there is no terminal and no forwarding. */
  readonly isRestricted: boolean;
  /** `command="…"`: what runs whatever was asked. */
  readonly forcedCommand?: string;
}

/** Lines that cannot be read let nobody in. */
export function parseAuthorizedKeys(text: string): readonly AuthorizedKey[] {
  return text
    .split('\n')
    .map(parseKeyLine)
    .filter((key) => key !== undefined);
}

/** What the one rewrite command does to the file, line by line as its script does. */
export function applyHandOff(text: string, handOff: HandOff): { readonly text: string; readonly answer: HandOffAnswer } {
  const { consumerKey, probeKey, probeAfter } = handOff;
  const lines = text.split('\n').filter((line) => line !== '');
  const kept = lines.filter((line) => !line.includes(probeKey));
  const isPresent = kept.some((line) => line === consumerKey || line.startsWith(`${consumerKey} `));
  const added = [
    ...(isPresent ? [] : [consumerKey]),
    ...(probeAfter.kind === 'restrict' ? [restrictedLine(probeKey, probeAfter.tag)] : []),
  ];
  return {
    text: [...kept, ...added].map((line) => `${line}\n`).join(''),
    answer: {
      consumer: isPresent ? 'present' : 'added',
      probe: probeAfter.kind === 'restrict' ? 'restricted' : 'removed',
      probeWasListed: kept.length < lines.length,
    },
  };
}

const KEY = /^(?<type>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+)\s+(?<blob>[A-Za-z0-9+/]+={0,2})(?:\s|$)/;
/** Options up to the first blank that stands in no quotes. */
const OPTIONS = /^(?<options>(?:[^\s"]|"(?:[^"\\]|\\.)*")+)\s+(?<rest>.*)$/;
const FORCED_COMMAND = /(?:^|,)command="(?<command>(?:[^"\\]|\\.)*)"/;

function parseKeyLine(line: string): AuthorizedKey | undefined {
  const text = line.trim();
  const bare = parseKey(text);
  if (bare !== undefined) return { ...bare, isRestricted: false };
  const { options = '', rest = '' } = OPTIONS.exec(text)?.groups ?? {};
  const key = parseKey(rest);
  if (key === undefined) return undefined;
  const forcedCommand = FORCED_COMMAND.exec(options)?.groups?.['command']?.replaceAll('\\"', '"');
  return {
    ...key,
    isRestricted: /(?:^|,)restrict(?:,|$)/.test(options.replace(FORCED_COMMAND, '')),
    ...(forcedCommand === undefined ? {} : { forcedCommand }),
  };
}

function parseKey(text: string): Pick<AuthorizedKey, 'type' | 'blob'> | undefined {
  const { type, blob } = KEY.exec(text)?.groups ?? {};
  return type === undefined || blob === undefined ? undefined : { type, blob: Buffer.from(blob, 'base64') };
}
