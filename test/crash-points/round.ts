import { expect } from 'vitest';
import type { CrashPoint } from './effects.ts';
import type { MemoryStore } from '../support/memory-store.ts';
import { openStage, type Stage } from './stage.ts';
import type { Story } from './story.ts';
import { judge } from './verdict.ts';

interface Death {
  readonly point: CrashPoint;
  /** What the story does when nobody dies. */
  readonly undisturbed: readonly string[];
}

/** Plays a story to its end and judges it; hands back what the broker did until its end, or its death. */
export async function playRound(story: Story, memory: MemoryStore, death?: Death): Promise<readonly string[]> {
  const stage = await openStage(story, memory, death?.point);
  try {
    await story.play(stage);
    await judge(story, stage, memory.store);
    if (death) judgeSameness(stage, death);
    else await judgeMeaning(story, stage);
    return [...stage.effects.done];
  } catch (error) {
    const where = death ? `a death ${death.point.position} the effect ${death.point.effect}` : 'no death';
    const done = stage.effects.done.map((what, index) => `${index} ${what}`).join('\n');
    throw new Error(`${story.name}, with ${where}: ${error instanceof Error ? error.message : String(error)}\n${done}`, {
      cause: error,
    });
  } finally {
    stage.world.replica.life.end();
    await stage.world.settle();
  }
}

async function judgeMeaning({ brings }: Story, { acknowledged, world }: Stage): Promise<void> {
  const kinds = await Promise.all([...acknowledged.keys()].map((id) => world.eventKinds(id)));
  expect(kinds.flat(), 'the story is what it says').toEqual(expect.arrayContaining([...brings]));
}

function judgeSameness({ effects: { done, hasStruck } }: Stage, { point: { effect }, undisturbed }: Death): void {
  expect(hasStruck, 'the broker died').toBe(true);
  expect(done.length, 'it came to its effect').toBeGreaterThan(effect);
  // of a write that was never begun nobody knows what it would have been
  const expected = done.map((what, index) => (what === 'write' ? 'write' : undisturbed[index]));
  expect(done, 'the same effects up to the death').toEqual(expected);
}
