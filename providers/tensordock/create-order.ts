import type { Random } from '../../src/core/random.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { bootCommands, faultOfBoot } from './boot-commands.ts';
import { isImage } from './environment.ts';
import { isRamSize, MIN_DISK_GB } from './machine-size.ts';
import { failure } from './mapping.ts';
import { readOfferCode, type Network } from './offer-code.ts';

const MIB_PER_GB = 1024;
const SSH_PORT = 22;
/** Where a port of the host is only wished for. */
const WISHED_PORTS = { first: 20_000, count: 10_000 };

export interface OrderSettings {
  readonly defaultImage: string;
  readonly driverPackage: string | undefined;
}

export interface CreateOrder {
  readonly body: unknown;
  /** Whether it will have an address of its own; else a port of its host's has to come. */
  readonly hasOwnAddress: boolean;
}

/** The body of a create. Throws `rejected` for what their server would refuse or misread, before anything is sent. */
export function createOrder(
  request: CreateRequest,
  { defaultImage, driverPackage }: OrderSettings,
  random: Pick<Random, 'next'>,
): CreateOrder {
  const { tag, offer, environment, onStart } = request;
  const code = readOfferCode(offer.providerOfferId);
  const image = request.image ?? defaultImage;
  const keys = request.sshPublicKeys.map((key) => key.trim());
  const ramGb = offer.memoryMib / MIB_PER_GB;
  if (code === undefined) throw rejected(`"${offer.id}" is no offer of TensorDock`);
  if (offer.gpuCount < 1 || offer.cpuCores % 2 !== 0 || !isRamSize(ramGb))
    throw rejected(`"${offer.id}" has sizes that are not sold`);
  if (!isImage(image))
    throw rejected('the image is not one of their operating systems, as ubuntu2204; containers are not run here');
  const fault = faultOfBoot({ keys, environment });
  if (fault !== undefined) throw rejected(fault);
  const runcmd = bootCommands({ keys, environment, driverPackage, ...(onStart !== undefined && { onStart }) });
  const attributes = {
    name: tag,
    type: 'virtualmachine',
    image,
    resources: {
      vcpu_count: offer.cpuCores,
      ram_gb: ramGb,
      storage_gb: Math.max(MIN_DISK_GB, Math.ceil(request.diskGb)),
      gpus: { [code.model]: { count: offer.gpuCount } },
    },
    ...(code.site === 'location' ? { location_id: code.siteId } : { hostnode_id: code.siteId }),
    ...networkPart(code.network, random),
    // one of the two has to be there: the consumer's, for what it is worth
    ssh_key: keys[0],
    cloud_init: { package_update: false, runcmd },
  };
  return { body: { data: { type: 'virtualmachine', attributes } }, hasOwnAddress: code.network === 'ip' };
}

function networkPart(network: Network, random: Pick<Random, 'next'>) {
  if (network === 'ip') return { useDedicatedIp: true };
  const pick = (count: number) => Math.floor(random.next() * count);
  const external = network === 'forward' ? WISHED_PORTS.first + pick(WISHED_PORTS.count) : network[pick(network.length)];
  return { port_forwards: [{ internal_port: SSH_PORT, external_port: external }], useDedicatedIp: false };
}

function rejected(why: string) {
  return failure({ operation: 'CreateInstance', kind: 'rejected', why });
}
