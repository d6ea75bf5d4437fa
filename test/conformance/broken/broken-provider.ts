import type { Provider } from '../../../src/provider/provider.ts';
import type { InMemoryWorld } from '../in-memory-world.ts';

/** A provider with one fault, of a kind that has been seen in the wild, and the check that is meant to catch it. */
export interface BrokenProvider {
  /** What it does wrong, as a sentence about it. */
  readonly name: string;
  readonly caughtBy: string;
  /** What the check then says, so that it is caught for what it does wrong and not by chance. */
  readonly says: string;
  readonly wrap: (world: InMemoryWorld) => Provider;
}
