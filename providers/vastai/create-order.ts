import { toUsd, type MicroUsd } from '../../src/core/money.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import type { Template } from '../../src/provider/template.ts';
import { bootScript, LONGEST_SCRIPT, templateBootScript } from './boot-script.ts';
import { isImage } from './environment.ts';
import { failure } from './mapping.ts';
import { MIN_DISK_GB } from './offers.ts';
import { TAG_VARIABLE } from './instances.ts';

/** A name that is no variable would be read as a flag of docker. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const SSH_KEY = /^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,12000}={0,3}( [\x20-\x7e]{0,255})?$/;

interface OrderContext {
  readonly defaultImage: string;
  /** The one that the request names. What the request says itself goes before what the template says; variables are merged. */
  readonly template?: Template;
}

/** The body of a create. Throws `rejected` for what their server would misread, before anything is sent. */
export function createOrder(request: CreateRequest, { defaultImage, template }: OrderContext) {
  const { tag, offer, sshPublicKeys, environment, onStart } = request;
  const image = request.image ?? (template ? undefined : defaultImage);
  const keys = sshPublicKeys.map((key) => key.trim());
  if (!/^[1-9]\d{0,15}$/.test(offer.providerOfferId)) throw rejected(`"${offer.id}" is no offer of Vast.ai`);
  if (image !== undefined && !isImage(image)) throw rejected('the name of the image is not one that can be pulled');
  if (!keys.every((key) => SSH_KEY.test(key))) throw rejected('an SSH public key is not one line of "type base64"');
  const badName = Object.keys(environment).find((name) => !VARIABLE.test(name));
  if (badName !== undefined) throw rejected('the name of an environment variable has other characters than A-Z a-z 0-9 _');
  const script =
    template?.onStart !== undefined && onStart === undefined
      ? (templateBootScript({ keys, script: template.onStart }) ?? '')
      : bootScript({ keys, ...(onStart !== undefined && { onStart }) });
  if (script === undefined) {
    throw rejected(`on_start_cmd is too long: packed and encoded it must not exceed ${LONGEST_SCRIPT} characters`);
  }
  const bid = offer.interruptible ? bidFor(request) : undefined;
  return {
    client_id: 'me',
    ...(image !== undefined && { image }),
    ...(template && { template_hash_id: template.hashId }),
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

/** What was asked to be bid, if it can be. A bid that the market would refuse is refused here, where the words are better. */
function bidFor({ offer, diskGb, bidMicrosPerHour: bid, maxPriceMicrosPerHour }: CreateRequest): MicroUsd {
  if (bid === undefined || !(bid > 0)) throw rejected('an interruptible offer takes a bid, and none was told');
  const floor = offer.minBidMicrosPerHour ?? 0;
  if (bid < floor) throw rejected('the bid lies under the lowest that the offer takes');
  if (priceWithDisk(offer, diskGb) - floor + bid > maxPriceMicrosPerHour)
    throw rejected('with the disk the bid exceeds the highest price that may be paid');
  return bid;
}

function rejected(why: string) {
  return failure({ operation: 'CreateInstance', kind: 'rejected', why });
}
