import type { ConfiguredApiKey } from './api-key-list.ts';
import type { Settings } from './schema.ts';

/** The settings as the broker is handed them: those of the schema, with the API keys of the variable and of the file in one list. */
export type Config = Omit<Settings, 'access'> & { readonly access: Access };

export interface Access {
  /** `none`: deliberately open. `keys`: a key is asked for as soon as there is one. */
  readonly auth: 'keys' | 'none';
  readonly keys: readonly ConfiguredApiKey[];
}
