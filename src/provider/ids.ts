import type { Brand } from '../core/brand.ts';

/** A provider's name as configuration and the wire have it: `vastai`, `pool`, `simulated`. */
export type ProviderId = Brand<'ProviderId'>;
/** An offer's id on the wire, unique over all providers: `<provider>-<the provider's own id>`. */
export type OfferId = Brand<'OfferId'>;
/** The provider's own name of an instance; opaque to everybody else. */
export type InstanceId = Brand<'InstanceId'>;

// The casts below hold by definition: these are the only places where such ids are made from text.
export const providerId = (text: string): ProviderId => text as ProviderId;
export const offerId = (text: string): OfferId => text as OfferId;
export const instanceId = (text: string): InstanceId => text as InstanceId;
