import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { describeEachStore, silentLog } from '../../../test/support/stores.ts';
import { HOUR_MS, MINUTE_MS } from '../../core/duration.ts';
import { RULES, SESSION_ID, START, aSession, nothingBeside } from '../fixtures/session-records.ts';
import { createSessionChanges } from '../session-changes.ts';
import { createSessionRepository } from '../session-repository.ts';
import { createSessionWriter } from '../session-writer.ts';
import { createExtendSession } from './extend-session.ts';
import { createStopSession } from './stop-session.ts';

describeEachStore('a session that exists', (open) => {
  async function aBroker() {
    const sessions = createSessionRepository(await open());
    const clock = new FakeClock(START);
    const writer = createSessionWriter({ sessions, clock, changes: createSessionChanges(), rules: RULES, log: silentLog });
    await sessions.insert({
      session: aSession({ expiresAt: START + 2 * HOUR_MS, hardDeadlineAt: START + 12 * HOUR_MS }),
      event: { sessionId: SESSION_ID, version: 1, kind: 'session.requested', at: START, data: {} },
      secrets: [],
      beside: nothingBeside,
    });
    return { sessions, clock, extend: createExtendSession({ sessions, writer }), stop: createStopSession({ writer }) };
  }

  describe('extended', () => {
    it('PEER-11.2.20: moves the expiry from where it is, and never past the maximum, however often and however late it is asked', async () => {
      const { extend, clock, sessions } = await aBroker();
      let granted = 0;
      for (let times = 0; times < 20; times += 1) {
        await clock.advance(5 * MINUTE_MS);
        const extended = await extend(SESSION_ID, 60).catch(() => undefined);
        if (extended) granted += 1;
      }

      expect(granted).toBe(10);
      expect((await sessions.find(SESSION_ID))?.session.expiresAt).toBe(START + 12 * HOUR_MS);
    });

    it('PEER-11.2.20: asked twenty times at once, what is granted is what stands there, and no more', async () => {
      const { extend, sessions } = await aBroker();

      const outcomes = await Promise.allSettled(Array.from({ length: 15 }, () => extend(SESSION_ID, 60)));

      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
      expect((await sessions.find(SESSION_ID))?.session).toMatchObject({
        expiresAt: START + 12 * HOUR_MS,
        reservationMinutes: 720,
      });
    });

    it('says how much is still possible', async () => {
      const { extend } = await aBroker();

      await expect(extend(SESSION_ID, 601)).rejects.toMatchObject({
        code: 'invalid_request',
        details: { possible_minutes: 600, maximum_expires_at: '2026-01-01T12:00:00.000Z' },
      });
      expect((await extend(SESSION_ID, 600))?.session.expiresAt).toBe(START + 12 * HOUR_MS);
    });

    it('is refused once it is to end', async () => {
      const { extend, stop } = await aBroker();
      await stop(SESSION_ID, 'user_requested');

      await expect(extend(SESSION_ID, 60)).rejects.toMatchObject({
        code: 'invalid_state',
        details: { status: 'stopped', reason: 'user_requested' },
      });
    });

    it('is undefined of no session', async () => {
      expect(await (await aBroker()).extend('ses_00000000000000000000000009', 60)).toBeUndefined();
    });
  });

  describe('stopped', () => {
    it('REL-C12: is told once however often it is asked, at once or afterwards; the first reason stands', async () => {
      const { stop, sessions } = await aBroker();

      const answers = await Promise.all(Array.from({ length: 10 }, () => stop(SESSION_ID, 'user_requested')));
      const late = await stop(SESSION_ID, 'expired');

      expect([...answers, late].map((record) => record?.session.desired)).toEqual(Array.from({ length: 11 }, () => 'gone'));
      expect(late?.session.reason).toBe('user_requested');
      const events = await sessions.listEvents({ id: SESSION_ID, after: 1, limit: 100 });
      expect(events.map(({ kind }) => kind)).toEqual(['session.stopping', 'session.stopped']);
    });

    it('is undefined of no session', async () => {
      expect(await (await aBroker()).stop('ses_00000000000000000000000009', 'idle')).toBeUndefined();
    });
  });
});
