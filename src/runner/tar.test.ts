import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { packFiles, unpackFirstFile } from './tar.ts';

const file = { path: '/root/.ssh/authorized_keys', mode: 0o600, content: 'ssh-ed25519 AAAA "quoted" $(x) ü\n' };

describe('an archive of files for a container', () => {
  it('is read by tar with owner, modes, folders and content as given', () => {
    const archive = packFiles([file, { path: '/etc/berth/on-start', mode: 0o700, content: 'x'.repeat(1_024) }], {
      '/root/.ssh': 0o700,
    });

    const listed = execFileSync('tar', ['-tv', '--numeric-owner', '-f', '-'], { input: archive, encoding: 'utf8' });
    const content = execFileSync('tar', ['-xO', '-f', '-', 'root/.ssh/authorized_keys'], { input: archive, encoding: 'utf8' });

    expect(listed.split('\n').map((line) => line.replace(/\s+\d{4}-.*? (?=root|etc)/, ' ').replace(/\s+/g, ' '))).toEqual([
      'drwx------ 0/0 0 root/.ssh/',
      '-rw------- 0/0 34 root/.ssh/authorized_keys',
      '-rwx------ 0/0 1024 etc/berth/on-start',
      '',
    ]);
    expect(content).toBe(file.content);
  });

  it('gives its first file back, folders skipped', () => {
    expect(unpackFirstFile(packFiles([file], { '/root': 0o700 }))?.toString()).toBe(file.content);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(1_024)],
    ['noise', Buffer.alloc(2_048, 0xff)],
    ['a file that is cut short', packFiles([{ ...file, content: 'x'.repeat(5_000) }]).subarray(0, 2_048)],
  ])('holds no file when it is %s', (_, archive) => {
    expect(unpackFirstFile(archive)).toBeUndefined();
  });
});
