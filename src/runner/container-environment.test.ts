import { describe, expect, it } from 'vitest';
import { containerEnvironment, loginEnvironment } from './container-environment.ts';

describe('the variables of a container', () => {
  it('are those of the session and the tag, which nobody can set otherwise', () => {
    expect(containerEnvironment({ A: 'x=y "z" $(q)', BERTH_TAG: 'forged' }, 'berth-abcd-1')).toEqual([
      'A=x=y "z" $(q)',
      'BERTH_TAG=berth-abcd-1',
    ]);
  });

  it.each([
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'ld_preload',
    'NVIDIA_VISIBLE_DEVICES',
    'NVIDIA_DRIVER_CAPABILITIES',
    'PATH',
    'BASH_ENV',
    'ENV',
    'IFS',
    'BASH_FUNC_ls',
    'GCONV_PATH',
    'GLIBC_TUNABLES',
    'OPENSSL_CONF',
    'SSH_PUBLIC_KEYS',
    'BERTH_ON_START',
  ])('REL-K10: %s is refused by name', (name) => {
    expect(() => containerEnvironment({ [name]: 'x' }, 'tag')).toThrow(
      new RegExp(`environment variable ${name} is not allowed`),
    );
  });

  it.each(['', '1A', 'A-B', 'A B', 'A=B', 'A\nB', 'Ä', 'a'.repeat(129)])('%j is no name', (name) => {
    expect(() => containerEnvironment({ [name]: 'x' }, 'tag')).toThrow(/is not allowed/);
  });

  it.each(['HF_TOKEN', 'CUDA_VISIBLE_DEVICES', 'PATH_TO_DATA', 'MY_LD_X', 'HOME'])('%s is allowed', (name) => {
    expect(containerEnvironment({ [name]: 'x' }, 'tag')).toContain(`${name}=x`);
  });

  it('refuses a zero byte, and keeps a value of several lines out of the login file', () => {
    expect(() => containerEnvironment({ A: 'x\0y' }, 'tag')).toThrow(/zero byte/);
    expect(loginEnvironment(['A=1', 'KEY=-----BEGIN\nLD_PRELOAD=x', 'B=2'])).toBe('A=1\nB=2\n');
  });
});
