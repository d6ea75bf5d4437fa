import { BrokerError } from '../core/errors.ts';
import type { StoredRequest } from '../db/tables.ts';
import type { Capabilities } from '../provider/capabilities.ts';
import type { Offer } from '../provider/offer.ts';

export type Abilities = Pick<Capabilities, 'customImage' | 'environment' | 'onStart'>;

/** The fields of a request, as the wire names them, that a provider cannot carry out. */
export function beyondAbilities(request: StoredRequest, abilities: Abilities): readonly string[] {
  return [
    ...(request.image !== undefined && !abilities.customImage ? ['image'] : []),
    ...(Object.keys(request.environment).length > 0 && !abilities.environment ? ['env'] : []),
    ...(request.onStart !== undefined && !abilities.onStart ? ['on_start_cmd'] : []),
  ];
}

/** Said before anybody pays: the provider would refuse it. */
export function abilityRefusal({ id, provider }: Offer, fields: readonly string[]): BrokerError {
  const message = `is not possible at ${provider}; leave it out, or choose an offer of another provider than ${id}`;
  return new BrokerError({
    code: 'invalid_request',
    message: `create session: ${fields.join(' and ')} ${message}`,
    details: { fields: fields.map((field) => ({ field, message })) },
  });
}
