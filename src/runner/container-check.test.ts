import { describe, expect, it } from 'vitest';
import { differencesFromTemplate } from './container-check.ts';
import { containerTemplate } from './container-template.ts';

const settings = { publishIp: '127.0.0.1', pidsLimit: 4_096, openFiles: 65_536, packageCapabilities: false };
const order = {
  tag: 'berth-abcd-1',
  image: 'berth-ssh',
  units: ['gpu:GPU-1'],
  gpuUuids: ['GPU-1'],
  cpuIds: [0, 1],
  memoryMib: 1_024,
  sshPublicKeys: ['ssh-ed25519 AAAA'],
  environment: {},
};
const template = containerTemplate(order, [], settings);
const made = { ...template.HostConfig };
const engine = { swapLimit: true };

describe('REL-K8: a container that was made, beside what was ordered', () => {
  it("is as ordered, in an engine's own spelling too", () => {
    const spelt = {
      ...made,
      CapAdd: made.CapAdd.map((name) => `CAP_${name}`).reverse(),
      SecurityOpt: ['no-new-privileges:true'],
      NetworkMode: 'default',
      Binds: null,
      Devices: [],
      UTSMode: '',
    };

    expect(differencesFromTemplate(made, template, engine)).toEqual([]);
    expect(differencesFromTemplate(spelt, template, engine)).toEqual([]);
  });

  it.each([
    ['Privileged', true],
    ['CapAdd', [...made.CapAdd, 'SYS_ADMIN']],
    ['CapDrop', []],
    ['SecurityOpt', ['no-new-privileges', 'seccomp=unconfined']],
    ['SecurityOpt', []],
    ['NetworkMode', 'host'],
    ['PidMode', 'host'],
    ['IpcMode', 'host'],
    ['UTSMode', 'host'],
    ['UsernsMode', 'host'],
    ['Binds', ['/var/run/docker.sock:/x']],
    ['Mounts', [{ Type: 'bind' }]],
    ['Devices', [{ PathOnHost: '/dev/sda' }]],
    ['VolumesFrom', ['other']],
    ['DeviceRequests', [{ Count: -1, DeviceIDs: null }]],
    ['DeviceRequests', [{ Count: 0, DeviceIDs: ['GPU-1', 'GPU-2'] }]],
    ['DeviceRequests', null],
    ['PublishAllPorts', true],
    ['PortBindings', { '22/tcp': [{ HostIp: '0.0.0.0' }] }],
    ['PortBindings', { ...made.PortBindings, '80/tcp': [{ HostIp: '127.0.0.1' }] }],
    ['Memory', 0],
    ['MemorySwap', -1],
    ['NanoCpus', 0],
    ['CpusetCpus', ''],
    ['PidsLimit', null],
    ['Init', false],
    ['RestartPolicy', { Name: 'always' }],
  ])('differs in %s when it is %j', (name, value) => {
    expect(differencesFromTemplate({ ...made, [name]: value }, template, engine)).toEqual([name]);
  });

  it('may lack the swap limit where the kernel counts no swap, and is nothing when it cannot be read', () => {
    expect(differencesFromTemplate({ ...made, MemorySwap: -1 }, template, { swapLimit: false })).toEqual([]);
    expect(differencesFromTemplate('garbage', template, engine)).toEqual(['HostConfig']);
  });
});

describe('the template', () => {
  it('adds what package managers need only when it is told to', () => {
    expect(made.CapAdd).toEqual(['AUDIT_WRITE', 'CHOWN', 'KILL', 'SETGID', 'SETUID', 'SYS_CHROOT']);
    const wide = containerTemplate(order, [], { ...settings, packageCapabilities: true });
    expect(wide.HostConfig.CapAdd).toEqual(expect.arrayContaining(['DAC_OVERRIDE', 'FOWNER', 'FSETID']));
  });

  it('gives whole cores by number and by share, and swap no further than memory', () => {
    expect(made).toMatchObject({
      NanoCpus: 2_000_000_000,
      CpusetCpus: '0,1',
      Memory: 1_073_741_824,
      MemorySwap: 1_073_741_824,
    });
  });
});
