import { isIP } from 'node:net';

/** Whether only this machine can reach an address that is listened on. A name other than localhost counts as reachable: it may resolve to anything. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (bare === 'localhost' || bare === '::1') return true;
  const mapped = /^::ffff:([\d.]+)$/.exec(bare)?.[1] ?? bare;
  return isIP(mapped) === 4 && mapped.startsWith('127.');
}
