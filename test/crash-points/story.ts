import type { Stage } from './stage.ts';
import type { Staging } from './staging.ts';

/**
 * What a consumer, a market and time do, and what has to come of it wherever the broker dies once on the way. A story asks for what it needs to
 * see before it goes on, never for a moment, and what it expects at its end holds for every death.
 */
export interface Story extends Staging {
  readonly name: string;
  /** Events that a round without a death must bring, or the story tells of something else than it says. */
  readonly brings: readonly string[];
  /** How much time of an instance the bill may miss or have too much, for what nobody can see; of a death comes its own. */
  readonly unseenMs?: number;
  /** What may be in the log as an error. */
  readonly errors?: readonly string[];
  play(stage: Stage): Promise<void>;
}
