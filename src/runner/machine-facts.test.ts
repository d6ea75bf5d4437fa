import { describe, expect, it } from 'vitest';
import { machineId } from './inventory.ts';
import { openFilesLimit } from './open-files.ts';
import { publishAddress } from './publish-address.ts';
import { parseDockerHost } from './docker-host.ts';

describe('the address at which SSH ports are published', () => {
  const deps = { resolve: async () => '192.0.2.9', ownAddresses: () => ['192.0.2.7', '198.51.100.1'] };

  it.each([
    ['127.0.0.1', { bindIp: '127.0.0.1', host: '127.0.0.1' }],
    ['::1', { bindIp: '::1', host: '::1' }],
    ['0.0.0.0', { bindIp: '0.0.0.0', host: '192.0.2.7' }],
    ['gpu1.example', { bindIp: '192.0.2.9', host: 'gpu1.example' }],
  ])('%s is bound and handed out as %j', async (host, address) => {
    expect(await publishAddress(host, deps)).toEqual(address);
  });

  it('is refused by name when it does not resolve', async () => {
    const failing = { ...deps, resolve: async () => Promise.reject(new Error('ENOTFOUND')) };

    await expect(publishAddress('nowhere', failing)).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('POOL_HOST'),
    });
  });
});

describe('DOCKER_HOST', () => {
  it.each([
    [undefined, { kind: 'socket', path: '/var/run/docker.sock' }],
    ['', { kind: 'socket', path: '/var/run/docker.sock' }],
    ['unix:///run/user/1000/docker.sock', { kind: 'socket', path: '/run/user/1000/docker.sock' }],
    ['tcp://127.0.0.1:2399', { kind: 'network', host: '127.0.0.1', port: 2_399 }],
    ['tcp://[::1]', { kind: 'network', host: '::1', port: 2_375 }],
  ])('%j is %j', (text, address) => {
    expect(parseDockerHost(text)).toEqual(address);
  });

  it.each(['ssh://host', 'nonsense', 'https://x:2376', 'npipe:////./pipe'])('%j is a fault that names the fix', (text) => {
    expect(parseDockerHost(text)).toMatchObject({ kind: 'unreachable', message: expect.stringContaining('use unix:///') });
  });
});

describe('facts about a machine', () => {
  it('two engines with one id and two data folders are two machines', () => {
    expect(machineId({ ID: 'A', DockerRootDir: '/one' })).not.toBe(machineId({ ID: 'A', DockerRootDir: '/two' }));
  });

  it('asks for no more open files than the engine beside it may give', async () => {
    expect(
      await openFilesLimit(async () => 'Max open files            1024                 20000                files\n'),
    ).toBe(20_000);
    expect(
      await openFilesLimit(async () => 'Max open files            1024                 1048576              files\n'),
    ).toBe(65_536);
    expect(await openFilesLimit(async () => Promise.reject(new Error('ENOENT')))).toBe(65_536);
  });
});
