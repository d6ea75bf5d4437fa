import { z } from 'zod';
import { HOUR_MS } from '../../core/duration.ts';
import { toUsd } from '../../core/money.ts';
import type { OfferSerialiser, OfferView, ProviderStatus } from '../../offers/offer-view.ts';
import { pricePerGpu } from '../../offers/price-sanity.ts';
import { soldVramGb } from '../../offers/vram.ts';
import { countryOf } from '../../provider/country.ts';
import { present } from '../present.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { time } from './wire-values.ts';

export const OfferBody = z
  .object({
    id: z.string().describe('What POST /api/v1/sessions takes as offer_id.'),
    provider: z.string(),
    provider_id: z.string().describe("The provider's own name of it."),
    gpu_type: z.string().describe('Normalised, such as "RTX 4090"; "CPU" for an offer without a GPU.'),
    gpu_count: z.int().describe('0 for an offer without a GPU.'),
    vram_gb: z.int().describe('GB of each GPU, by the size that the card is sold by.'),
    price_per_hour: z.number().describe('US dollars an hour for the whole offer with its disk_gb, fees included.'),
    location: z.string(),
    country: z.string().optional().describe('Where it names one: two letters of ISO 3166-1.'),
    reliability: z.number().describe('0 to 1, as the provider tells.'),
    available: z.boolean().describe('False when somebody has it; such an offer is found by its id only.'),
    max_duration_hours: z.int().describe('The longest rental that the provider allows, hours; 0 for no limit.'),
    fetched_at: time.describe('When the provider was asked; the same as observed_at.'),
    availability_confidence: z
      .number()
      .describe('How likely a session on it is to succeed, 0 to 1, recent failures considered.'),
    cuda_version: z.number().optional(),
    machine_id: z.string().optional().describe('The machine behind it, where the provider tells.'),
    interruptible: z
      .boolean()
      .optional()
      .describe(
        'True when it goes to whoever bids more, at any time and without notice; price_per_hour is then the least. Else absent.',
      ),
    min_bid: z
      .number()
      .optional()
      .describe('The least that may be bid, US dollars an hour for the whole offer without its disk; not the bid to beat.'),
    simulated: z.boolean().describe('True when it exists in this process only.'),
    price_per_gpu: z.number().describe('US dollars an hour.'),
    cpu_cores: z.number(),
    memory_gb: z.number().describe('GiB.'),
    disk_gb: z.int().describe('The disk that price_per_hour pays for, GB.'),
    min_disk_gb: z.int(),
    max_disk_gb: z.int(),
    disk_price_per_gb_hour: z.number().describe('US dollars an hour for each GB more or less than disk_gb.'),
    observed_at: time.describe('When the provider was asked.'),
  })
  .meta({ id: 'Offer', description: 'What a provider says that it would rent now.' });

export type OfferBody = z.infer<typeof OfferBody>;

const ProviderStatusBody = z
  .object({
    id: z.string(),
    simulated: z.boolean(),
    observed_at: time.optional().describe('When the offers shown were listed; absent before the first listing.'),
    offers: z.int().describe('How many offers it lists.'),
    dropped: z.int().describe('Rows of its listing that could not be read.'),
    stale: z.boolean().describe('True when its offers are older than they should be, or were never listed.'),
    error: z
      .object({ kind: z.string(), message: z.string() })
      .optional()
      .describe('What the last listing failed with; its earlier offers are shown meanwhile.'),
  })
  .meta({ id: 'ProviderStatus' });

/** For OpenAPI and tests: the body is joined from fragments that were made once, and goes past the serializer. */
export const InventoryBody = z
  .object({
    offers: z.array(OfferBody),
    count: z.int().describe('Offers of this page.'),
    total: z.int().describe('Offers that match, before paging.'),
    providers: z.array(ProviderStatusBody).describe('How each provider that the query covers stands.'),
  })
  .meta({ id: 'Inventory' });

/** Makes the JSON of an offer and of a provider's status, once for each change. */
export const offerSerialiser: OfferSerialiser = {
  offer: (view) => JSON.stringify(offerFields(view)), // which leaves out what is undefined
  provider: (status) => JSON.stringify(statusToWire(status)),
};

function offerFields({ offer, availabilityConfidence, observedAt, simulated, available }: OfferView) {
  const observed = timeOf(observedAt);
  return {
    id: offer.id,
    provider: offer.provider,
    provider_id: offer.providerOfferId,
    gpu_type: offer.gpuType,
    gpu_count: offer.gpuCount,
    vram_gb: soldVramGb(offer.vramMib),
    price_per_hour: toUsd(offer.priceMicrosPerHour),
    location: offer.location,
    country: placeOf(offer.location),
    reliability: offer.reliability,
    available,
    // less than an hour is not the 0 of no limit
    max_duration_hours: offer.maxDurationMs === undefined ? 0 : Math.max(1, Math.floor(offer.maxDurationMs / HOUR_MS)),
    fetched_at: observed,
    availability_confidence: availabilityConfidence,
    cuda_version: offer.cudaVersion,
    machine_id: offer.machineId,
    interruptible: offer.interruptible || undefined,
    min_bid: offer.minBidMicrosPerHour === undefined ? undefined : toUsd(offer.minBidMicrosPerHour),
    simulated,
    price_per_gpu: toUsd(Math.round(pricePerGpu(offer))),
    cpu_cores: offer.cpuCores,
    memory_gb: Math.round((offer.memoryMib / 1024) * 100) / 100,
    disk_gb: offer.diskGb,
    min_disk_gb: offer.minDiskGb,
    max_disk_gb: offer.maxDiskGb,
    disk_price_per_gb_hour: toUsd(offer.diskMicrosPerGbHour),
    observed_at: observed,
  } satisfies Fields<OfferBody>;
}

type Fields<Body> = { readonly [Name in keyof Body]: Body[Name] | undefined };

/** Thousands of offers of one listing have one time and few places. */
const timeOf = lastOf(wireTime);
const MOST_PLACES = 2_000;
const countries = new Map<string, string | undefined>();

function placeOf(location: string): string | undefined {
  if (countries.has(location)) return countries.get(location);
  if (countries.size >= MOST_PLACES) countries.clear();
  const country = countryOf(location);
  countries.set(location, country);
  return country;
}

function lastOf<Input, Output>(compute: (input: Input) => Output): (input: Input) => Output {
  let last: { readonly input: Input; readonly output: Output } | undefined;
  return (input) => {
    if (last === undefined || last.input !== input) last = { input, output: compute(input) };
    return last.output;
  };
}

function statusToWire({ id, simulated, observedAt, offers, dropped, stale, error }: ProviderStatus) {
  return present({
    id,
    simulated,
    observed_at: wireTimeIfAny(observedAt),
    offers,
    dropped,
    stale,
    error: error && { kind: error.kind, message: error.message },
  }) satisfies z.infer<typeof ProviderStatusBody>;
}
