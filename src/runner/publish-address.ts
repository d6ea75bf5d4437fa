import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { RunnerFailure } from '../runner-protocol/runner-link.ts';

/** Where Docker publishes a port, and the address that others use to get there. */
export interface PublishAddress {
  readonly bindIp: string;
  readonly host: string;
}

interface AddressDeps {
  readonly resolve: (host: string) => Promise<string>;
  readonly ownAddresses: () => readonly string[];
}

/**
 * Docker binds to an IP address only. A name is resolved for it and handed out as it is; "every address" is handed out as the first
 * address of this machine that is not loopback. Throws `refused` for a name that does not resolve.
 */
export async function publishAddress(host: string, deps: AddressDeps = machineAddresses): Promise<PublishAddress> {
  if (host === '0.0.0.0' || host === '::') return { bindIp: host, host: deps.ownAddresses()[0] ?? '127.0.0.1' };
  if (isIP(host) !== 0) return { bindIp: host, host };
  try {
    return { bindIp: await deps.resolve(host), host };
  } catch (cause) {
    throw new RunnerFailure(
      'refused',
      `POOL_HOST is "${host}", which does not resolve: set it to an address of this machine`,
      cause,
    );
  }
}

const machineAddresses: AddressDeps = {
  resolve: async (host) => (await lookup(host, { family: 4 })).address,
  ownAddresses: () =>
    Object.entries(networkInterfaces())
      .filter(([name]) => !/^(docker|br-|veth|virbr)/.test(name))
      .flatMap(([, addresses]) => addresses ?? [])
      .filter((address) => !address.internal && address.family === 'IPv4')
      .map((address) => address.address),
};
