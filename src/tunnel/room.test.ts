import { describe, expect, it } from 'vitest';
import { sessionIdOf } from './fixtures/tunnels.ts';
import { roomFor } from './room.ts';

const LIMITS = { all: 10, ofSession: 6, young: 5, youngOfSession: 3 };
const [ALICE, BOB, CAROL] = [sessionIdOf(1), sessionIdOf(2), sessionIdOf(3)];

type State = 'silent' | 'spoken' | 'open';

function connections(...list: readonly (readonly [session: typeof ALICE, state: State, count?: number])[]) {
  return list.flatMap(([sessionId, state, count = 1]) =>
    Array.from({ length: count }, (_, index) => ({
      name: `${state} ${index}`,
      sessionId,
      isYoung: () => state !== 'open',
      isSilent: () => state === 'silent',
    })),
  );
}

describe('room for one more connection', () => {
  it('is free as long as no limit is reached', () => {
    expect(roomFor(ALICE, connections([ALICE, 'silent', 2], [BOB, 'silent', 2], [ALICE, 'open', 3]), LIMITS)).toEqual({
      kind: 'free',
    });
  });

  it.each([
    ['of the session', connections([ALICE, 'open', 6]), 'too_many_of_session'],
    ['young ones of the session', connections([ALICE, 'spoken', 3]), 'too_many_young'],
    ['in all', connections([BOB, 'open', 6], [CAROL, 'open', 4]), 'too_many'],
    ['young ones in all', connections([BOB, 'spoken', 3], [CAROL, 'spoken', 2]), 'too_many_young'],
  ])('is none at the most connections %s, when all of them have spoken', (_, others, refusal) => {
    expect(roomFor(ALICE, others, LIMITS)).toEqual({ kind: 'none', refusal });
  });

  it.each([
    ['the session has the most that it may', connections([ALICE, 'open', 5], [ALICE, 'silent'], [BOB, 'silent', 2]), ALICE],
    ['the session has the most young ones', connections([BOB, 'silent', 2], [ALICE, 'spoken', 1], [ALICE, 'silent', 2]), ALICE],
    ['all have the most young ones', connections([CAROL, 'silent', 2], [BOB, 'silent', 3]), BOB],
    ['all have the most that they may', connections([CAROL, 'open', 6], [BOB, 'silent'], [CAROL, 'silent', 3]), CAROL],
  ])('is made by the oldest silent one of the session that has the most of them, when %s', (_, others, victim) => {
    const room = roomFor(ALICE, others, LIMITS);

    expect(room).toMatchObject({ kind: 'instead_of', silent: { sessionId: victim, name: 'silent 0' } });
  });
});
