import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/log.ts';
import { databases } from '../../test/support/stores.ts';
import { MINUTE_MS } from '../core/duration.ts';
import { berthSchema } from '../db/schema.ts';
import type { Session } from '../db/tables.ts';
import { START, SESSION_ID, RULES, aSession, anIntent, nothingBeside, declinedBeside } from './fixtures/session-records.ts';
import { createSessionChanges, type SessionChange } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import { createSessionRepository } from './session-repository.ts';
import { InvariantBroken, createSessionWriter } from './session-writer.ts';

const create = databases('sqlite', berthSchema);

async function aWriter(session: Partial<Session> = {}) {
  const sessions = createSessionRepository(await (await create()).open());
  const clock = new FakeClock(START);
  const log = recordingLog();
  const changes = createSessionChanges({ log });
  const heard: SessionChange[] = [];
  changes.onAny((change) => heard.push(change));
  const writer = createSessionWriter({ sessions, clock, changes, rules: RULES, log });
  const row = aSession(session);
  const event = { sessionId: row.id, version: 1, kind: 'session.requested', at: START, data: {} };
  await sessions.insert({
    session: row,
    event,
    secrets: [],
    beside: nothingBeside,
  });
  const find = async (): Promise<SessionRecord> => {
    const record = await sessions.find(SESSION_ID);
    if (!record) throw new Error('the session is gone');
    return record;
  };
  return { sessions, clock, log, changes, heard, writer, find };
}

describe('the session writer', () => {
  it('writes what a fact makes of the row, hands back what stands there now, and tells it once', async () => {
    const { writer, heard, find, log } = await aWriter();

    const applied = await writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'idle' });

    expect(applied.outcome).toBe('changed');
    expect(applied).toMatchObject({ record: await find() });
    expect(heard).toHaveLength(1);
    expect(heard[0]).toMatchObject({
      session: { version: 3, status: 'stopped' },
      events: [{ kind: 'session.stopping' }, { kind: 'session.stopped' }],
    });
    expect(log.messages('info')).toEqual(['session.stopping', 'session.stopped']);
  });

  it('says that nothing changed, and tells nobody, when the fact is nothing new', async () => {
    const { writer, heard, find } = await aWriter();
    await writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'idle' });
    const before = await find();

    expect(await writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'expired' })).toEqual({
      outcome: 'unchanged',
      record: before,
    });
    expect(heard).toHaveLength(1);
  });

  it('says that there is no such session', async () => {
    const { writer } = await aWriter();

    expect(await writer.apply('ses_00000000000000000000000009', { kind: 'stop_requested', reason: 'idle' })).toEqual({
      outcome: 'missing',
    });
  });

  it('REL-D2: what was decided on an old row is decided again on the row as it is', async () => {
    const { writer, find } = await aWriter();
    const old = await find();
    await writer.apply(SESSION_ID, { kind: 'extended', addedMinutes: 60 });

    const applied = await writer.apply(old, { kind: 'extended', addedMinutes: 60 });

    expect(applied.outcome).toBe('changed');
    expect((await find()).session.expiresAt).toBe(START + 4 * 60 * MINUTE_MS);
  });

  it('a fact that is nothing new to the old row that was handed in is looked at with the row as it is', async () => {
    const { writer, find } = await aWriter();
    const before = await find(); // knows of no attempt
    await writer.apply(SESSION_ID, { kind: 'attempt_begun', attempt: anIntent() });

    const applied = await writer.apply(before, { kind: 'create_unknown', ordinal: 1, message: 'no answer' });

    expect(applied.outcome).toBe('changed');
    expect((await find()).attempts).toMatchObject([{ state: 'unknown' }]);
  });

  it('reads again after each lost race, and writes what is true then', async () => {
    const { sessions, clock, changes, find, log } = await aWriter();
    let races = 0;
    const raced = {
      find: sessions.find,
      save: async (...[before, transition, beside]: Parameters<typeof sessions.save>) => {
        races += 1;
        if (races <= 3)
          await sessions.save(before, { ...transition, events: [], session: { ...before.session, name: `race ${races}` } });
        return sessions.save(before, transition, beside);
      },
    };
    const writer = createSessionWriter({ sessions: raced, clock, changes, rules: RULES, log });

    const applied = await writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'idle' });

    expect(applied.outcome).toBe('changed');
    expect(races).toBe(4);
    expect((await find()).session).toMatchObject({ name: 'race 3', status: 'stopped' });
  });

  it('gives up loudly when it loses without end', async () => {
    const { sessions, clock, changes, log } = await aWriter();
    const writer = createSessionWriter({
      sessions: { find: sessions.find, save: async () => 'stale' },
      clock,
      changes,
      rules: RULES,
      log,
    });

    await expect(writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'idle' })).rejects.toThrow(
      'lost 20 races in a row',
    );
  });

  it('RULE-R16: a fact that would break an invariant writes nothing and says what it would break', async () => {
    const { writer, find, heard } = await aWriter({ attemptCount: 1 }); // the row counts an attempt that is not there
    const before = await find();

    const applying = writer.apply(SESSION_ID, { kind: 'extended', addedMinutes: 60 });

    await expect(applying).rejects.toThrow(InvariantBroken);
    await expect(applying).rejects.toThrow('fact extended would break: attempts are counted');
    expect(await find()).toEqual(before);
    expect(heard).toEqual([]);
  });

  it('RULE-R16: a broken row can be put off, so that it is not tried again at once for ever', async () => {
    const { writer, find } = await aWriter({ attemptCount: 1 });

    await writer.apply(SESSION_ID, { kind: 'postponed', untilAt: START + MINUTE_MS });

    expect((await find()).session.dueAt).toBe(START + MINUTE_MS);
  });

  it('says so, and tells nobody, when what stands beside it declines', async () => {
    const { writer, heard, find } = await aWriter();
    const before = await find();

    const applied = await writer.apply(SESSION_ID, { kind: 'attempt_begun', attempt: anIntent() }, declinedBeside);

    expect(applied).toEqual({ outcome: 'declined', record: before });
    expect(heard).toEqual([]);
  });

  it('REL-F2: the time of a row never goes back, though the clock does', async () => {
    const { writer, clock, find } = await aWriter();
    clock.jumpWall(-MINUTE_MS);

    await writer.apply(SESSION_ID, { kind: 'stop_requested', reason: 'idle' });

    expect((await find()).session).toMatchObject({ updatedAt: START, stoppedAt: START });
  });

  it('a listener that throws harms neither the writer nor who else listens', async () => {
    const { writer, changes, log } = await aWriter();
    const heard: SessionChange[] = [];
    changes.on(SESSION_ID, () => {
      throw new Error('a mistake');
    });
    const stop = changes.on(SESSION_ID, (change) => heard.push(change));

    expect((await writer.apply(SESSION_ID, { kind: 'extended', addedMinutes: 1 })).outcome).toBe('changed');
    expect(heard).toHaveLength(1);
    expect(log.messages('error')).toEqual(['listener to session changes failed']);

    stop();
    await writer.apply(SESSION_ID, { kind: 'extended', addedMinutes: 1 });
    expect(heard).toHaveLength(1);
  });
});
