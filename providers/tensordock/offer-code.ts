/** Where a machine is made: anywhere in a location, or on one host node. */
export type Site = 'location' | 'hostnode';

/**
 * How SSH gets in. `ip`: an address of its own, port 22. `forward`: a port of the host's address, whichever comes. A list: one of these
 * ports of the host, which are free.
 */
export type Network = 'ip' | 'forward' | readonly number[];

/** What a create has to know of an offer beyond its sizes. */
export interface OfferCode {
  readonly site: Site;
  readonly siteId: string;
  /** Their name for the GPU. */
  readonly model: string;
  readonly network: Network;
}

/** `location/5d0d6a1e-…/geforcertx4090-pcie-24gb/ip`: the provider's own name of an offer, which is handed back at the create. */
export function writeOfferCode({ site, siteId, model, network }: OfferCode): string {
  return [site, siteId, model, typeof network === 'string' ? network : network.join('+')].join('/');
}

const CODE =
  /^(location|hostnode)\/([A-Za-z0-9][A-Za-z0-9_-]{0,99})\/([A-Za-z0-9][A-Za-z0-9._-]{1,79})\/(ip|forward|\d{1,5}(?:\+\d{1,5}){0,9})$/;

export function readOfferCode(text: string): OfferCode | undefined {
  const [, site, siteId, model, network] = CODE.exec(text) ?? [];
  if (siteId === undefined || model === undefined || network === undefined) return undefined;
  return {
    site: site === 'hostnode' ? 'hostnode' : 'location',
    siteId,
    model,
    network: network === 'ip' || network === 'forward' ? network : network.split('+').map(Number),
  };
}
