import type { z } from 'zod';
import type { Principal } from '../consumers/api-keys.ts';
import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { fromUsd } from '../core/money.ts';
import { offerId } from '../provider/ids.ts';
import type { StoredRequest } from '../db/tables.ts';
import { bodyHashOf } from '../sessions/commands/request-session.ts';
import type { SessionOrder } from '../sessions/commands/session-order.ts';
import { parseSshPublicKey } from '../ssh/public-key.ts';
import type { HttpSettings } from './http-deps.ts';
import { invalidInput, type Fault } from './input-faults.ts';
import { present } from './present.ts';
import { REQUIREMENTS, SessionRequest } from './schemas/session-request.ts';

type OrderSettings = Pick<
  HttpSettings,
  'defaultReservationHours' | 'minReservationMinutes' | 'hardMaxMs' | 'maxAttempts' | 'bidMarginPercent' | 'providers'
>;

interface OrderParts {
  readonly body: SessionRequest;
  /** Whose it will be; see `consumerInScope`. */
  readonly consumerId: Principal['consumerId'];
  readonly idempotencyKey: string | undefined;
  readonly settings: OrderSettings;
}

const PRESERVE_WARNING = 'storage_policy preserve: nothing is kept; the disk is destroyed with the session';
const DEFAULT_RETRIES = 3;
const MOST_RETRIES = 5;
/** Names that would change how a machine starts, not what the consumer runs on it. */
const RESERVED_ENVIRONMENT = /^BERTH_/i;

/** A checked body in inside units. Throws the 400 that names everything that does not go together. */
export function sessionOrderOf({ body, consumerId, idempotencyKey, settings }: OrderParts): SessionOrder {
  const { faults, reservationMinutes, image, sshPublicKey } = checked(body, body, settings);
  if (faults.length > 0) throw invalidInput(faults);

  const autoRetry = body.auto_retry ?? false;
  const maxRetries = Math.min(body.max_retries || DEFAULT_RETRIES, MOST_RETRIES);
  return present({
    consumerId,
    name: body.name || undefined,
    workloadType: body.workload_type ?? 'ssh',
    request: storedRequest(body, { autoRetry, maxRetries, image, bidMarginPercent: settings.bidMarginPercent }),
    reservationMinutes,
    idleThresholdMinutes: body.idle_threshold_minutes ?? 0,
    sshPublicKey,
    metadata: body.metadata ?? {},
    warnings: body.storage_policy === 'preserve' ? [PRESERVE_WARNING] : [],
    maxAttempts: body.max_attempts ?? (autoRetry ? 1 + maxRetries : settings.maxAttempts),
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, bodyHash: bodyHashOf(body) },
  });
}

/** What else is wrong with a body that its schema has refused, so that one answer names it all: seen in the fields that can be read. */
export function furtherFaultsOf(given: unknown, settings: OrderSettings): Fault[] {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return [];
  const schemas = new Map<string, z.ZodType>(Object.entries(SessionRequest.shape));
  const fields = Object.entries(given).filter(([name]) => schemas.has(name));
  const readable = fields.filter(([name, value]) => schemas.get(name)?.safeParse(value).success);
  const body = SessionRequest.safeParse(Object.fromEntries(readable));
  return body.success ? checked(body.data, Object.fromEntries(fields), settings).faults : [];
}

/** Everything that the schema of one field cannot know. `given` has the fields that cannot be read as well. */
function checked(body: SessionRequest, given: Readonly<Record<string, unknown>>, settings: OrderSettings) {
  const faults: Fault[] = [];
  const fault = (field: string, message: string) => void faults.push({ field, message });

  checkTarget(given, fault);
  for (const provider of body.provider ?? []) {
    if (!settings.providers.some(({ id }) => id === provider))
      fault('provider', `not found: ${provider}; on are ${settings.providers.map(({ id }) => id).join(', ')}`);
  }
  checkBid(body, fault);
  const reservationMinutes = reservationOf(body, settings, fault);
  if (body.image && body.docker_image && body.image !== body.docker_image)
    fault('docker_image', 'is the same field as image and says otherwise; send one of them');
  for (const name of Object.keys(body.env ?? {}))
    if (RESERVED_ENVIRONMENT.test(name)) fault(`env.${name}`, "is one of the broker's own names; choose another");
  const sshPublicKey = publicKeyOf(body, fault);
  return { faults, reservationMinutes, image: body.image || body.docker_image || undefined, sshPublicKey };
}

type ReportFault = (field: string, message: string) => void;

function checkTarget(given: Readonly<Record<string, unknown>>, fault: ReportFault): void {
  const named = REQUIREMENTS.filter((field) => given[field] !== undefined);
  if (given['offer_id'] === undefined && named.length === 0 && given['max_price'] === undefined)
    fault(
      'offer_id',
      `is required; send offer_id from GET /api/v1/inventory, or what is needed: ${REQUIREMENTS.join(', ')}, max_price`,
    );
  if (given['offer_id'] === undefined) return;
  for (const field of named) fault(field, 'cannot stand beside offer_id, which names one offer; send one of them');
}

/** Whether it fits an offer is known only when there is one. */
function checkBid({ bid_price: bid, max_price: limit, ...body }: SessionRequest, fault: ReportFault): void {
  if (bid === undefined) return;
  if (body.offer_id === undefined && body.interruptible !== true)
    fault('bid_price', 'needs interruptible: true, since only such offers take a bid; send both or leave it out');
  if (limit !== undefined && limit > 0 && bid > limit) fault('bid_price', `must be at most max_price (${limit})`);
}

function reservationOf(body: SessionRequest, settings: OrderSettings, fault: ReportFault): number {
  // an hour's binary fraction may stick out by a hair, which is no further minute
  const minutes = Math.ceil((body.reservation_hours ?? settings.defaultReservationHours) * 60 - 1e-6);
  const most = Math.floor(settings.hardMaxMs / MINUTE_MS);
  if (body.reservation_hours === undefined) return Math.min(minutes, Math.max(1, most));
  if (body.reservation_hours === 0) fault('reservation_hours', 'is required to be more than 0; leave it out for the default');
  else if (minutes < settings.minReservationMinutes)
    fault(
      'reservation_hours',
      `must be at least ${round(settings.minReservationMinutes / 60)} (${settings.minReservationMinutes} minutes)`,
    );
  else if (minutes > most) fault('reservation_hours', `must be at most ${round(settings.hardMaxMs / HOUR_MS)}`);
  return minutes;
}

const round = (hours: number) => Math.round(hours * 10_000) / 10_000;

function publicKeyOf({ ssh_public_key: text }: SessionRequest, fault: ReportFault): string | undefined {
  if (text === undefined) return undefined;
  const parsed = parseSshPublicKey(text);
  if (parsed.ok) return parsed.key;
  fault('ssh_public_key', parsed.message.replace(/^ssh_public_key /, ''));
  return undefined;
}

function storedRequest(
  body: SessionRequest,
  {
    autoRetry,
    maxRetries,
    image,
    bidMarginPercent,
  }: { autoRetry: boolean; maxRetries: number; image: string | undefined; bidMarginPercent: number },
): StoredRequest {
  const { max_price: maxPrice, bid_price: bid } = body;
  const mayBid = body.interruptible === true || body.offer_id !== undefined;
  return present({
    offerId: body.offer_id === undefined ? undefined : offerId(body.offer_id.trim()),
    providers: body.provider,
    gpuTypes: body.gpu_type,
    minVramMib: body.min_vram === undefined ? undefined : Math.round(body.min_vram * 1024),
    gpuCount: body.gpu_count,
    maxPriceMicrosPerHour: maxPrice === undefined || maxPrice === 0 ? undefined : fromUsd(maxPrice),
    locations: body.location,
    minReliability: body.min_reliability,
    interruptible: body.interruptible,
    bidMicrosPerHour: bid === undefined ? undefined : fromUsd(bid),
    bidMarginPercent: mayBid && bid === undefined ? bidMarginPercent : undefined,
    diskGb: body.disk_gb || undefined,
    image,
    environment: body.env ?? {},
    onStart: body.on_start_cmd || undefined,
    templateHashId: body.template_hash_id || undefined,
    sshTimeoutMinutes: body.ssh_timeout_minutes || undefined,
    autoRetry,
    maxRetries,
    retryScope: body.retry_scope || 'same_gpu',
    storagePolicy: body.storage_policy || 'destroy',
    launchMode: 'ssh',
    modelId: body.model_id || undefined,
    quantization: body.quantization || undefined,
  });
}
