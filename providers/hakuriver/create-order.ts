import type { CreateRequest } from '../../src/provider/provider.ts';
import type { Generation } from './dialect.ts';
import { failure } from './mapping.ts';
import type { Place } from './placement.ts';
import { keyLines } from './ssh-keys.ts';

const MIB = 1024 * 1024;
const IMAGE = /^[A-Za-z0-9][\w.\-/:@]{0,1023}$/;
/** Always among the variables, and carried by the key's comment here. */
const TAG_VARIABLE = 'BERTH_TAG';

interface OrderContext {
  readonly generation: Generation;
  readonly container?: string;
}

/**
 * Throws `rejected` for what their API has no place for. Nothing of it is dropped in silence, and nothing secret is squeezed into a field that
 * everybody can read.
 */
export function refuseWhatCannotBeHad(request: CreateRequest, { generation }: OrderContext): void {
  const { environment, onStart, image, templateHashId, interruptibleBid } = termsOf(request);
  if (environment.length > 0) throw rejected('environment variables never reach a VPS of HakuRiver; leave them out');
  if (onStart !== undefined) throw rejected('a VPS of HakuRiver runs no script at its start; leave on_start_cmd out');
  if (templateHashId !== undefined) throw rejected('HakuRiver has no templates');
  if (interruptibleBid !== undefined) throw rejected('HakuRiver takes no bids');
  if (image !== undefined && generation !== 'kohaku') {
    throw rejected('this HakuRiver starts the environment that HAKURIVER_CONTAINER names; leave image out');
  }
  if (image !== undefined && !IMAGE.test(image)) throw rejected('the name of the image is not one that can be pulled');
}

/** The body of the create call. Throws `rejected` for keys that are none. */
export function createOrder(request: CreateRequest, place: Place, { generation, container }: OrderContext) {
  const keys = keyLines(request);
  const image = request.image === undefined ? undefined : { registry_image: request.image };
  const start = image ?? (container === undefined ? {} : { container_name: container });
  if (generation === 'seed') {
    return {
      task_type: 'vps',
      command: keys,
      required_cores: place.cores,
      targets: [place.hostname],
      // a list for each target; a memory limit would keep a VPS from ever starting, so that none is sent
      ...(place.gpuIds.length > 0 && { required_gpus: [place.gpuIds] }),
      ...start,
    };
  }
  return {
    name: request.tag,
    required_cores: place.cores,
    target_hostname: place.hostname,
    ...(place.gpuIds.length > 0 && { required_gpus: place.gpuIds }),
    ...(place.memoryMib > 0 && { required_memory_bytes: place.memoryMib * MIB }),
    ...start,
    // by default there would be no SSH at all, and `none` is root without a password
    ssh_key_mode: 'upload',
    ssh_public_key: keys,
    vps_backend: 'docker',
  };
}

function termsOf({ environment, onStart, image, templateHashId, bidMicrosPerHour }: CreateRequest) {
  return {
    environment: Object.keys(environment).filter((name) => name !== TAG_VARIABLE),
    onStart,
    image,
    templateHashId,
    interruptibleBid: bidMicrosPerHour,
  };
}

function rejected(why: string) {
  return failure({ operation: 'CreateInstance', kind: 'rejected', why });
}
