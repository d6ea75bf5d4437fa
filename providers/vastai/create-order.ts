import { toUsd, type MicroUsd } from '../../src/core/money.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { bootScript, LONGEST_SCRIPT } from './boot-script.ts';
import { isImage } from './environment.ts';
import { failure } from './mapping.ts';
import { MIN_DISK_GB } from './offers.ts';
import { TAG_VARIABLE } from './instances.ts';

/** A name that is no variable would be read as a flag of docker. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const SSH_KEY = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,12000}={0,3}( [\x20-\x7e]{0,255})?$/;
/** Over the floor that the machine's owner set; somebody else's bid may still be higher. */
const BID_MARGIN = 1.1;

/** The body of a create. Throws `rejected` for what their server would misread, before anything is sent. */
export function createOrder(request: CreateRequest, { defaultImage }: { readonly defaultImage: string }) {
  const { tag, offer, sshPublicKeys, environment, onStart } = request;
  const image = request.image ?? defaultImage;
  const keys = sshPublicKeys.map((key) => key.trim());
  if (!/^[1-9]\d{0,15}$/.test(offer.providerOfferId)) throw rejected(`"${offer.id}" is no offer of Vast.ai`);
  if (!isImage(image)) throw rejected('the name of the image is not one that can be pulled');
  if (!keys.every((key) => SSH_KEY.test(key))) throw rejected('an SSH public key is not one line of "type base64"');
  const badName = Object.keys(environment).find((name) => !VARIABLE.test(name));
  if (badName !== undefined) throw rejected('the name of an environment variable has other characters than A-Z a-z 0-9 _');
  const script = bootScript({ keys, ...(onStart !== undefined && { onStart }) });
  if (script === undefined) {
    throw rejected(`on_start_cmd is too long: packed and encoded it must not exceed ${LONGEST_SCRIPT} characters`);
  }
  const bid = offer.interruptible ? bidFor(request) : undefined;
  return {
    client_id: 'me',
    image,
    label: tag,
    disk: Math.max(MIN_DISK_GB, Math.ceil(request.diskGb)),
    env: { ...environment, [TAG_VARIABLE]: tag },
    // publishes the container's port 22 and has an address at their proxy besides
    runtype: 'ssh_direct',
    ...(script !== '' && { onstart: script }),
    target_state: 'running',
    // or a machine that cannot start would stay as a stopped contract that bills its disk
    cancel_unavail: true,
    ...(bid !== undefined && { price: toUsd(bid) }),
  };
}

/** The floor and a margin, within what the consumer pays once the disk is paid for. */
function bidFor({ offer, diskGb, maxPriceMicrosPerHour }: CreateRequest): MicroUsd {
  const most = maxPriceMicrosPerHour - Math.round(diskGb * offer.diskMicrosPerGbHour);
  const floor = offer.minBidMicrosPerHour ?? 0;
  if (most < floor || most <= 0) throw rejected('the highest price does not reach the lowest bid');
  return Math.min(most, floor > 0 ? Math.round(floor * BID_MARGIN) : most);
}

function rejected(why: string) {
  return failure({ operation: 'CreateInstance', kind: 'rejected', why });
}
