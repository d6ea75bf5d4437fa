import { describe, expect, it } from 'vitest';
import type { FactKind } from './fact.ts';
import { RULES, storyAt } from './fixtures/session-records.ts';
import { brokenInvariants } from './invariants.ts';
import { step } from './step.ts';
import { STATES, TABLE } from './fixtures/step-table.ts';

const rows = Object.entries(TABLE).flatMap(([kind, facts]) =>
  facts.flatMap(([name, fact, ...after]) =>
    STATES.map((state, index) => ({ state, fact, after: after[index], title: `${kind} ${name}`.trim() })),
  ),
);

describe('every state × every fact', () => {
  it.each(rows)('$state, then $title: $after', ({ state, fact, after }) => {
    const story = storyAt(state);
    expect(story.attempt().state).toBe(state);

    story.tell(fact);

    expect(story.attempt().state).toBe(after);
    expect(brokenInvariants(story.record)).toEqual([]);
  });

  it.each(rows)(
    '$state, then $title, without its attempt: nothing is made of an ordinal that is not there',
    ({ state, fact }) => {
      const story = storyAt(state);
      const before = story.record;

      if ('ordinal' in fact && fact.ordinal !== undefined) story.tell({ ...fact, ordinal: 9 });

      expect(story.record).toBe(before);
    },
  );

  const comesAnew: readonly FactKind[] = ['extended', 'destroy_answered', 'destroy_failed'];
  it.each(rows.filter(({ fact }) => !comesAnew.includes(fact.kind)))(
    '$state, then $title twice: the second time changes nothing',
    ({ state, fact }) => {
      const story = storyAt(state).tell(fact);
      const after = story.record;

      story.tell(fact);

      expect(story.record).toBe(after);
    },
  );

  it.each(STATES)('%s: the row that was read is never changed, only its next version', (state) => {
    for (const { fact } of rows) {
      const { record, now } = storyAt(state);
      const before = structuredClone(record);
      step(record, fact, now, RULES);
      expect(record).toEqual(before);
    }
  });
});
