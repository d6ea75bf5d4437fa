import { WorldClock } from '../../support/world.ts';
import { beginStories } from './begin.ts';
import { bidStories } from './bid.ts';
import { chargeStories } from './charge.ts';
import { liveStories } from './live.ts';
import { manyStories } from './many.ts';
import { proveStories } from './prove.ts';
import { Spoilt, type Mood, type OpenMarket, type Story, type StoryMarket } from './story.ts';
import { openStoryWorld, type Sums } from './story-world.ts';

export const STORIES: readonly Story[] = [
  ...beginStories,
  ...liveStories,
  ...bidStories,
  ...proveStories,
  ...manyStories,
  ...chargeStories,
];

const MOODS: readonly Mood[] = ['calm', 'default', 'stress'];

/** A seed is a story, a day of the vendor's, and everything that is left to chance. */
export interface Telling {
  readonly seed: number;
  readonly story: Story;
  readonly mood: Mood;
}

/** Spreads seeds over the stories that a market can stage, and over the days. */
export function tellingsOf(
  stories: readonly Story[],
  { seeds, from = 0 }: { seeds: number; from?: number },
): readonly Telling[] {
  return Array.from({ length: seeds }, (_, index) => from + index).flatMap((seed) => {
    const story = stories[seed % stories.length];
    const mood = MOODS[Math.floor(seed / stories.length) % MOODS.length];
    return story && mood ? [{ seed, story, mood }] : [];
  });
}

/** Which stories the market has the hands for. */
export async function stagedBy(
  open: OpenMarket,
): Promise<{ readonly staged: readonly Story[]; readonly leftOut: readonly Story[] }> {
  const market = await open({ clock: new WorldClock(), seed: 0, mood: 'calm' });
  try {
    const staged = STORIES.filter((story) => canStage(market, story));
    return { staged, leftOut: STORIES.filter((story) => !staged.includes(story)) };
  } finally {
    await market.close();
  }
}

function canStage(market: StoryMarket, { needs = [], troubles = [], applies }: Story): boolean {
  const hands: Readonly<Record<string, unknown>> = { ...market.controls, ...market };
  return (
    needs.every((need) => hands[need] !== undefined) &&
    troubles.every((trouble) => market.troubles.includes(trouble)) &&
    (applies?.(market.provider) ?? true)
  );
}

/** Told to its end, or cut short by a day that was not calm; either way its end was looked at. Throws when anything was not as it must be. */
export async function tell({ seed, story, mood }: Telling, open: OpenMarket): Promise<Sums & { outcome: 'told' | 'spoilt' }> {
  const { world, conclude, close } = await openStoryWorld(
    { seed, mood, billedUnseen: story.billedUnseen ?? false, blindMs: story.blindMs ?? 0 },
    open,
  );
  try {
    let outcome: 'told' | 'spoilt' = 'told';
    try {
      await story.run(world);
    } catch (error) {
      if (!(error instanceof Spoilt)) throw error;
      outcome = 'spoilt';
    }
    return { outcome, ...(await conclude()) };
  } finally {
    await close();
  }
}

export function nameOf({ seed, story, mood }: Telling): string {
  return `CONF-${story.id} (seed ${seed}, ${mood}): a session ${story.title}`;
}
