import { parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { failure } from './mapping.ts';
import type { TaskRow } from './schema.ts';

/** Nothing of what a shell would act upon: the machine pastes the keys into its start script. */
const KEY = /^([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/]{16,12000}={0,3})(?: [^\r\n]*)?$/;
const KEY_IN_TEXT = /^\s*(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ +[A-Za-z0-9+/=]{16,}(?: +(\S+))?\s*$/;

/**
 * The keys as they go over the wire: written anew as type and base64, the consumer's without its comment, the probe's, which is the last, with
 * the tag as comment. There is no label: this comment is what shows whose a VPS is. Throws `rejected` for what is no plain key.
 */
export function keyLines({ sshPublicKeys, tag }: Pick<CreateRequest, 'sshPublicKeys' | 'tag'>): string {
  const rejected = (why: string) => failure({ operation: 'CreateInstance', kind: 'rejected', why });
  const keys = sshPublicKeys.map((line) => {
    const [, type, base64] = KEY.exec(line.trim()) ?? [];
    if (type === undefined || base64 === undefined) throw rejected('an SSH public key is not one line of "type base64"');
    return `${type} ${base64}`;
  });
  if (keys.length === 0) throw rejected('a VPS needs at least one SSH public key');
  return [...keys.slice(0, -1), `${keys.at(-1)} ${tag}`].join('\n');
}

/**
 * The tag that a VPS bears: a comment of its keys where the Host gives the keys back, and then nothing else counts; else its name. Undefined
 * for a stranger's.
 */
export function tagOf({
  command,
  ssh_public_key: keys,
  name,
}: Partial<Pick<TaskRow, 'command' | 'ssh_public_key' | 'name'>>): string | undefined {
  const lines = [command, keys]
    .flatMap((text) => text?.split(/\r?\n/) ?? [])
    .flatMap((line) => {
      const found = KEY_IN_TEXT.exec(line);
      return found ? [found[1] ?? ''] : [];
    });
  const candidates = lines.length > 0 ? lines.toReversed() : [name ?? ''];
  return candidates.find((text) => parseOwnershipTag(text) !== undefined);
}
