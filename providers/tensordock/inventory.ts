import type { Offer, OfferQuery } from '../../src/provider/offer.ts';
import { parseLenientList } from '../../src/provider/lenient-list.ts';
import { gpuModelOf } from './gpu-model.ts';
import type { SizeWish } from './machine-size.ts';
import { TENSORDOCK } from './mapping.ts';
import type { Network } from './offer-code.ts';
import { offersOf, placeName, type Stock } from './offers.ts';
import { HostNode, HostNodeGpu, Location, LocationGpu, toNumber, type Place } from './schema.ts';

/** GPU models of one location or host node; more is no inventory. */
const MOST_MODELS = 200;
/** Of all locations and host nodes together. */
const MOST_OFFERS = 20_000;
/** So many of a host's free ports are remembered with its offer. */
const PORTS_KEPT = 8;

/** What three quarters of all creates come to is "no available nodes"; a named machine is a little surer. */
const CONFIDENCE = { location: 0.3, hostnode: 0.5 } as const;
/** By tier, 0 to 4, which says how a host was vetted and is no measure of anything; machines of tier 0 are taken back at will. */
const RELIABILITY_BY_TIER = [0.5, 0.8, 0.9, 0.95, 0.98] as const;
const USUAL_RELIABILITY = 0.8;

export interface Inventory {
  readonly offers: readonly Offer[];
  readonly dropped: number;
  readonly firstFault: string | undefined;
}

export interface InventoryContext {
  readonly query: OfferQuery;
  readonly wish: SizeWish;
}

/** Their locations and host nodes as offers, the cheapest first. What cannot be read, or priced, is counted; what does not fit the query is just left out. */
export function readInventory(
  { locations, hostNodes }: { readonly locations: readonly unknown[]; readonly hostNodes: readonly unknown[] },
  { query, wish }: InventoryContext,
): Inventory {
  const offers = new Map<string, Offer>();
  let dropped = 0;
  let firstFault: string | undefined;
  const note = (read: { readonly dropped: number; readonly firstFault: string | undefined }) => {
    dropped += read.dropped;
    firstFault ??= read.firstFault;
  };
  const take = (stock: Stock | undefined) => {
    if (stock === undefined) return note({ dropped: 1, firstFault: 'a GPU without a size' });
    const made = offersOf(stock, { query, wish });
    if (made === undefined) return note({ dropped: 1, firstFault: 'a GPU without a sane price' });
    for (const offer of made) {
      if (offers.size >= MOST_OFFERS) note({ dropped: 1, firstFault: `offers past the limit of ${MOST_OFFERS}` });
      else if (!offers.has(offer.id)) offers.set(offer.id, offer);
    }
  };

  const places = parseLenientList(locations, Location);
  note(places);
  const displayNames = new Map<string, string>();
  for (const location of places.rows) {
    const gpus = parseLenientList(location.gpus, LocationGpu, { limit: MOST_MODELS });
    note(gpus);
    for (const gpu of gpus.rows) {
      if (gpu.displayName !== undefined) displayNames.set(gpu.v0Name, gpu.displayName);
      const network = networkOf(gpu);
      if (network !== undefined && (gpu.max_count ?? 0) >= 1) take(stockOfLocation({ location, gpu, network }));
    }
  }

  const nodes = parseLenientList(hostNodes, HostNode);
  note(nodes);
  const placesById = new Map<string, Place>(places.rows.map((location) => [location.id, location]));
  for (const node of nodes.rows) {
    const gpus = parseLenientList(node.available_resources.gpus, HostNodeGpu, { limit: MOST_MODELS });
    note(gpus);
    const network = networkOfNode(node);
    const place = placesById.get(node.location_id ?? '') ?? node.location ?? undefined;
    for (const gpu of gpus.rows) {
      if (network === undefined || (gpu.availableCount ?? 0) < 1) continue;
      take(stockOfNode({ node, gpu, place, network, displayName: displayNames.get(gpu.v0Name) }));
    }
  }
  const sorted = [...offers.values()].sort((one, other) => one.priceMicrosPerHour - other.priceMicrosPerHour);
  return { offers: query.limit === undefined ? sorted : sorted.slice(0, query.limit), dropped, firstFault };
}

interface LocationParts {
  readonly location: Location;
  readonly gpu: LocationGpu;
  readonly network: Network;
}

function stockOfLocation({ location, gpu, network }: LocationParts): Stock | undefined {
  const model = gpuModelOf(gpu.v0Name, gpu.displayName);
  if (model === undefined) return undefined;
  return {
    ...model,
    code: { site: 'location', siteId: location.id, model: gpu.v0Name, network },
    usdPerGpuHour: gpu.price_per_hr,
    rates: gpu.pricing,
    capacity: {
      gpuCount: Math.floor(gpu.max_count ?? 0),
      vcpus: gpu.resources?.max_vcpus ?? 0,
      ramGb: gpu.resources?.max_ram_gb ?? 0,
    },
    maxDiskGb: gpu.resources?.max_storage_gb ?? 0,
    location: placeName(location),
    reliability: reliabilityOfTier(location.tier),
    confidence: CONFIDENCE.location,
  };
}

interface NodeParts {
  readonly node: HostNode;
  readonly gpu: HostNodeGpu;
  readonly place: Place | undefined;
  readonly network: Network;
  readonly displayName: string | undefined;
}

function stockOfNode({ node, gpu, place, network, displayName }: NodeParts): Stock | undefined {
  const model = gpuModelOf(gpu.v0Name, displayName);
  if (model === undefined) return undefined;
  const { available_resources: free, uptime_percentage: uptime } = node;
  return {
    ...model,
    code: { site: 'hostnode', siteId: node.id, model: gpu.v0Name, network },
    machineId: `${TENSORDOCK}-hostnode-${node.id}`,
    usdPerGpuHour: gpu.price_per_hr,
    rates: node.pricing,
    capacity: {
      gpuCount: Math.floor(gpu.availableCount ?? 0),
      vcpus: free.vcpu_count ?? 0,
      ramGb: free.ram_gb ?? 0,
      mostVcpusPerGpu: free.max_vcpus_per_gpu,
      mostRamGbPerGpu: free.max_ram_per_gpu,
    },
    maxDiskGb: free.storage_gb ?? 0,
    location: place === undefined ? 'unknown' : placeName(place),
    reliability: uptime === undefined ? reliabilityOfTier(place?.tier) : Math.min(1, Math.max(0, uptime / 100)),
    confidence: CONFIDENCE.hostnode,
  };
}

/** An address of one's own where there is one, since forwards are asked for and do not come. Undefined: no way in. */
function networkOf({ network_features: features }: LocationGpu): Network | undefined {
  const { dedicated_ip_available: hasOwnIp, port_forwarding_available: hasForwards } = features ?? {};
  if (hasOwnIp === true) return 'ip';
  if (hasForwards === true) return 'forward';
  return hasOwnIp === undefined && hasForwards === undefined ? 'ip' : undefined;
}

function networkOfNode({ available_resources: free }: HostNode): Network | undefined {
  if (free.has_public_ip_available === true) return 'ip';
  const ports = (free.available_ports ?? []).slice(0, 1_000).flatMap((each) => {
    const port = toNumber(each);
    return port !== undefined && Number.isInteger(port) && port >= 1 && port <= 65_535 ? [port] : [];
  });
  const kept = [...new Set(ports)].sort((one, other) => one - other).slice(0, PORTS_KEPT);
  return kept.length > 0 ? kept : undefined;
}

function reliabilityOfTier(tier: number | undefined): number {
  return RELIABILITY_BY_TIER[tier ?? -1] ?? USUAL_RELIABILITY;
}
