import { describe, expect, it } from 'vitest';
import { aTag } from '../../test/support/provider-calls.ts';
import { KEY_BASE64 } from './fixtures/bodies.ts';
import { keyLines, tagOf } from './ssh-keys.ts';

const tag = aTag(3);
const key = `ssh-ed25519 ${KEY_BASE64}`;

describe('keyLines', () => {
  it('HAKU-9.2: writes keys anew, the consumer’s bare and the probe’s with the tag for its comment', () => {
    const sshPublicKeys = [`  ${key} it's "mine"; rm -rf / `, `${key} whatever`];

    expect(keyLines({ sshPublicKeys, tag })).toBe(`${key}\n${key} ${tag}`);
  });

  it.each(['', 'this is not a key', `${key}'; reboot`, `${key}\nssh-ed25519 AAAA`, `command="x" ${key}`])(
    'HAKU-9.2: refuses %j',
    (line) => {
      expect(() => keyLines({ sshPublicKeys: [line, key], tag })).toThrow(expect.objectContaining({ kind: 'rejected' }));
    },
  );

  it('refuses to make what nobody could enter or recognise', () => {
    expect(() => keyLines({ sshPublicKeys: [], tag })).toThrow(expect.objectContaining({ kind: 'rejected' }));
  });
});

describe('tagOf', () => {
  it('is the comment of the probe key', () => {
    expect(tagOf({ command: `${key}\n${key} ${tag}` })).toBe(tag);
    expect(tagOf({ command: `${key}\r\n${key} ${tag}\r\n` })).toBe(tag);
    expect(tagOf({ ssh_public_key: `${key} ${tag}`, command: 'vps' })).toBe(tag);
  });

  it('tells the tags of other installations, too', () => {
    const other = aTag(4, { deployment: 'other' });
    expect(tagOf({ command: `${key} ${other}` })).toBe(other);
  });

  it('is none of a stranger’s, whatever it looks like', () => {
    expect(tagOf({ command: `${key} consumer` })).toBeUndefined();
    expect(tagOf({ command: `${key} x${tag}` })).toBeUndefined();
    expect(tagOf({ command: `${key} ${tag} x` })).toBeUndefined();
    expect(tagOf({ command: `echo ${tag}` })).toBeUndefined();
    expect(tagOf({ command: `${key} consumer`, name: tag })).toBeUndefined();
    expect(tagOf({})).toBeUndefined();
  });

  it('is the name where the Host gives no keys back', () => {
    expect(tagOf({ command: 'vps', name: tag })).toBe(tag);
    expect(tagOf({ command: 'vps', name: 'my machine' })).toBeUndefined();
  });
});
