import { API_KEY_BYTES, generateApiKey } from '../consumers/api-key-format.ts';
import { systemRandom } from '../core/random.ts';

export function makeKey(): string {
  return generateApiKey(systemRandom.bytes(API_KEY_BYTES));
}
