import { lookup } from 'node:dns/promises';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { untilAborted } from './abort.ts';
import { AddressRefused, fromSystemError } from './ssh-failure.ts';

/** All addresses of a host name, IPv4 and IPv6 as text. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** The machine's own resolver (hosts file, then DNS). */
export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

// Never an instance, whoever says so: "this host", link-local and the clouds' metadata services, multicast, reserved.
const NEVER = blockList([
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['192.0.0.192', 32],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 128],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
  ['64:ff9b:1::', 48], // translation by local rules: where it leads is not ours to know
  ['2001::', 32], // Teredo
]);

// Reachable only from near by: right for machines of our own, and a way into the broker's network for everybody else.
const PRIVATE = blockList([
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['::1', 128],
  ['fc00::', 7],
  ['100::', 64],
  ['2001:db8::', 32],
]);

/** Whether an address (IPv4 or IPv6 text) may be dialled; IPv4 inside IPv6 is judged by the IPv4 address. */
export function isDialable(address: string, { privateAddresses }: { privateAddresses: boolean }): boolean {
  if (isIPv4(address)) return isAllowed(address, 'ipv4', privateAddresses);
  if (!isIPv6(address) || address.includes('%')) return false;
  const groups = ipv6Groups(address);
  const embedded = embeddedIpv4(groups);
  if (embedded !== undefined) return isAllowed(embedded, 'ipv4', privateAddresses);
  return isAllowed(groups.map((group) => group.toString(16)).join(':'), 'ipv6', privateAddresses);
}

/**
 * The addresses of a host, each of them checked: the caller dials one of these and never the name, so that a second look-up cannot
 * answer otherwise. One forbidden address among them refuses the host. Throws AddressRefused or an SshError (`dns_failed`, `timeout`).
 */
export async function resolveDialable(
  host: string,
  { privateAddresses, resolve, signal }: { privateAddresses: boolean; resolve: Resolve; signal: AbortSignal },
): Promise<readonly string[]> {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  const addresses = isIPv4(bare) || isIPv6(bare) ? [bare] : await lookUp(bare, resolve, signal);
  for (const address of addresses) {
    if (!isDialable(address, { privateAddresses }))
      throw new AddressRefused(`the SSH address ${describe(bare, address)} may not be dialled`);
  }
  return [...addresses.filter((address) => isIPv4(address)), ...addresses.filter((address) => !isIPv4(address))];
}

async function lookUp(host: string, resolve: Resolve, signal: AbortSignal): Promise<readonly string[]> {
  // Also forms such as 0x7f.1 come here: the resolver turns them into an address, which is then checked.
  if (!/^[A-Za-z0-9_.-]{1,253}$/.test(host)) throw new AddressRefused('the SSH host is neither an address nor a host name');
  let addresses: readonly string[];
  try {
    addresses = await untilAborted(resolve(host), signal, 'look up host');
  } catch (error) {
    if (signal.aborted) throw error;
    throw fromSystemError(error, `look up ${host}`);
  }
  if (addresses.length === 0)
    throw fromSystemError(Object.assign(new Error('no address'), { code: 'ENODATA' }), `look up ${host}`);
  return addresses;
}

function describe(host: string, address: string): string {
  return host === address ? address : `${host} (${address.slice(0, 60)})`;
}

function isAllowed(address: string, family: 'ipv4' | 'ipv6', privateAddresses: boolean): boolean {
  return !NEVER.check(address, family) && (privateAddresses || !PRIVATE.check(address, family));
}

/** The IPv4 address that a mapped, compatible, NAT64 or 6to4 address stands for. */
function embeddedIpv4(groups: readonly number[]): string | undefined {
  const [a = 0, b = 0, c = 0] = groups;
  const [high = 0, low = 0] = groups.slice(6);
  const startsWithZeros = (count: number) => groups.slice(0, count).every((group) => group === 0);
  if (startsWithZeros(5) && groups[5] === 0xffff) return ipv4Text(high, low);
  if (startsWithZeros(6) && (high !== 0 || low > 1)) return ipv4Text(high, low);
  if (a === 0x64 && b === 0xff9b && groups.slice(2, 6).every((group) => group === 0)) return ipv4Text(high, low);
  if (a === 0x2002) return ipv4Text(b, c);
  return undefined;
}

function ipv4Text(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Eight numbers, from any valid spelling. */
function ipv6Groups(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_dotted, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = hex.split('::');
  const numbers = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const front = numbers(head);
  if (tail === undefined) return front;
  const back = numbers(tail);
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
}

function blockList(subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets) list.addSubnet(address, prefix, isIPv4(address) ? 'ipv4' : 'ipv6');
  return list;
}
