import { BrokerError } from '../../core/errors.ts';
import type { ProviderId } from '../../provider/ids.ts';
import type { Offer } from '../../provider/offer.ts';
import { describeNeed, describeTrait, needsWithDisk, unmetNeeds, type Template } from '../../provider/template.ts';
import type { OfferDesk } from '../offer-desk.ts';
import type { SessionOrder } from './session-order.ts';

/** The templates of all providers, as a command needs them. */
export interface TemplateFinder {
  readonly providers: readonly ProviderId[];
  /** Throws BrokerError `provider_unavailable` when that cannot be found out. */
  find(hashId: string): Promise<{ readonly template: Template } | undefined>;
}

interface TemplateDeps {
  readonly templates: TemplateFinder;
  readonly offers: Pick<OfferDesk, 'find'>;
}

/**
 * The order with what its template asks for: its disk where the consumer names none, its needs for whatever offer will be chosen, its
 * time to boot. Wrong pairs are refused before anybody pays for them (PEER-11.2.28): throws BrokerError `invalid_request` or
 * `insufficient_disk`. Without a template, and for an offer that there is not, the order comes back as it is.
 */
export async function withTemplate({ templates, offers }: TemplateDeps, order: SessionOrder): Promise<SessionOrder> {
  const { templateHashId: hashId, offerId, providers, diskGb } = order.request;
  const offer = offerId === undefined ? undefined : offers.find(offerId);
  if (hashId === undefined || (offerId !== undefined && !offer)) return order;
  const able = templates.providers.join(', ');
  if (able === '') throw refused('no provider that is on has templates; leave it out and name an image');
  if (offer && !templates.providers.includes(offer.provider))
    throw refused(`${offer.provider} has no templates; leave it out, or choose an offer of ${able}`);

  const found = await templates.find(hashId);
  if (!found) throw refused(`not found: ${hashId}; GET /api/v1/templates lists those that are recommended`);
  const { template } = found;
  const { provider, needs, recommendedDiskGb } = template;
  if (providers && !providers.includes(provider))
    throw refused(`is a template of ${provider}; name it as provider, or name none`);
  if (offer) mustFit(template, offer);
  if (recommendedDiskGb !== undefined && diskGb !== undefined && diskGb < recommendedDiskGb)
    throw tooSmallFor(template, recommendedDiskGb, diskGb);

  const bootMinutes = bootMinutesOf(template);
  return {
    ...order,
    request: {
      ...order.request,
      ...(diskGb === undefined && recommendedDiskGb !== undefined && { diskGb: recommendedDiskGb }),
      templateTerms: { provider, needs, ...(bootMinutes !== undefined && { bootMinutes }) },
    },
  };
}

function mustFit(template: Template, offer: Offer): void {
  const { provider, name, hashId } = template;
  const elsewhere = `choose an offer of GET /api/v1/inventory?template_hash_id=${hashId}`;
  if (offer.provider !== provider)
    throw refused(`is a template of ${provider}, and offer ${offer.id} is of ${offer.provider}; ${elsewhere}`);
  const unmet = unmetNeeds(needsWithDisk(template), offer).map(
    (need) => `${describeNeed(need)}, and the offer has ${describeTrait(need, offer)}`,
  );
  if (unmet.length > 0) throw refused(`does not fit offer ${offer.id}: "${name}" needs ${unmet.join('; ')}; ${elsewhere}`);
}

function refused(message: string): BrokerError {
  const field = 'template_hash_id';
  return new BrokerError({
    code: 'invalid_request',
    message: `${field} ${message}`,
    details: { fields: [{ field, message }] },
  });
}

function tooSmallFor({ name, hashId }: Template, leastGb: number, askedGb: number): BrokerError {
  return new BrokerError({
    code: 'insufficient_disk',
    message: `create session: disk_gb must be at least ${leastGb} for template "${name}" (${hashId}), and is ${askedGb}; leave it out for ${leastGb}`,
    details: {
      requested_gb: askedGb,
      minimum_gb: leastGb,
      recommended_gb: leastGb,
      breakdown: { template_floor_gb: leastGb, minimum_gb: leastGb, recommended_gb: leastGb },
    },
  });
}

/** Images that take long to fetch and to load, by words of their names; minutes from the create until SSH. */
const SLOW_IMAGES: readonly { readonly names: RegExp; readonly minutes: number }[] = [
  { names: /vllm|nemo|megatron/i, minutes: 15 },
  { names: /tgi|text-generation-inference|tensorrt|deepspeed|triton|ollama/i, minutes: 12 },
];

function bootMinutesOf({ name, image }: Template): number | undefined {
  return SLOW_IMAGES.find(({ names }) => names.test(`${name} ${image}`))?.minutes;
}
