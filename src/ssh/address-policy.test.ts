import { describe, expect, it } from 'vitest';
import { isDialable, resolveDialable } from './address-policy.ts';
import { AddressRefused } from './ssh-failure.ts';

const signal = new AbortController().signal;
const far = { privateAddresses: false };
const near = { privateAddresses: true };

describe('isDialable', () => {
  it.each(['8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808', '172.32.0.1', '100.128.0.1'])(
    '%s is the internet',
    (address) => {
      expect(isDialable(address, far)).toBe(true);
    },
  );

  it.each([
    '127.0.0.1',
    '127.8.8.8',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    'fd00::1',
    'fc00::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::10.0.0.1',
    '2002:7f00:1::',
    '0:0:0:0:0:0:0:1',
    '::FFFF:10.0.0.1',
  ])('REL-K1: %s is near by, for machines of our own only', (address) => {
    expect(isDialable(address, far)).toBe(false);
    expect(isDialable(address, near)).toBe(true);
  });

  it.each([
    '0.0.0.0',
    '0.1.2.3',
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    'fe80::1',
    'fe80::1%eth0',
    'fd00:ec2::254',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    'ff02::1',
    '100.100.100.200',
    '168.63.129.16',
    '2001::1',
    '2002:a9fe:a9fe::1',
    '::1%lo',
    '',
    'localhost',
    '127.1',
    '0x7f.1',
    '1.2.3.4.5',
  ])('REL-K1: %s is never dialled', (address) => {
    expect(isDialable(address, far)).toBe(false);
    expect(isDialable(address, near)).toBe(false);
  });
});

describe('resolveDialable', () => {
  const options = (addresses: readonly string[]) => ({ ...far, signal, resolve: async () => addresses });

  it('REL-K1: gives the very addresses that were checked, from one look-up', async () => {
    let lookups = 0;
    const resolve = async () => {
      lookups += 1;
      return lookups === 1 ? ['2606:4700::1', '8.8.4.4'] : ['127.0.0.1']; // rebinding
    };

    expect(await resolveDialable('gpu.example', { ...far, signal, resolve })).toEqual(['8.8.4.4', '2606:4700::1']);
    expect(lookups).toBe(1);
  });

  it('REL-K1: refuses a host when one of its addresses is forbidden', async () => {
    await expect(resolveDialable('gpu.example', options(['8.8.8.8', '10.0.0.1']))).rejects.toThrow(AddressRefused);
  });

  it('takes an address as it is, brackets allowed, without a look-up', async () => {
    const resolve = () => Promise.reject(new Error('not asked'));
    expect(await resolveDialable('[2606:4700::1]', { ...far, signal, resolve })).toEqual(['2606:4700::1']);
  });

  it.each(['a b', '-x\n', 'host/path', "x';id", 'ho%73t', ''])('refuses what is no host name: %j', async (host) => {
    await expect(resolveDialable(host, options(['8.8.8.8']))).rejects.toThrow(AddressRefused);
  });

  it('calls a name without addresses dns_failed', async () => {
    await expect(resolveDialable('gpu.example', options([]))).rejects.toMatchObject({ kind: 'dns_failed' });
  });

  it('stops waiting for a resolver when the budget ends', async () => {
    const resolve = () => new Promise<never>(() => {});
    await expect(resolveDialable('gpu.example', { ...far, signal: AbortSignal.timeout(20), resolve })).rejects.toMatchObject({
      kind: 'timeout',
    });
  });
});
