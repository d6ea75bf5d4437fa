import { expect, it } from 'vitest';
import {
  FAILURE_REASONS,
  SESSION_STATUSES,
  STOP_REASONS,
  actionsOf,
  isEnded,
  isHopeful,
  isStopReason,
  mayExist,
} from './session-state.ts';

it.each([
  ['pending', 'extend done delete'],
  ['provisioning', 'extend done delete'],
  ['running', 'connect extend done delete'],
  ['stopping', 'delete'],
  ['stopped', 'delete'],
  ['failed', 'delete'],
] as const)('a session that is %s can be asked to %s', (status, actions) => {
  expect(actionsOf({ status }).join(' ')).toBe(actions);
});

it('the statuses are told in the order of a life, and two of them are an end', () => {
  expect(SESSION_STATUSES).toEqual(['pending', 'provisioning', 'running', 'stopping', 'stopped', 'failed']);
  expect(SESSION_STATUSES.filter((status) => isEnded({ status }))).toEqual(['stopped', 'failed']);
});

it.each([
  ['intent', true, true],
  ['unknown', true, true],
  ['live', true, true],
  ['destroying', true, false],
  ['verifying', false, false],
  ['gone', false, false],
] as const)('an attempt that is %s: something may exist: %s, it may still be handed out: %s', (state, exists, hopeful) => {
  expect([mayExist(state), isHopeful({ state })]).toEqual([exists, hopeful]);
});

it('a wish of somebody is no failure, and no failure is a wish', () => {
  expect(STOP_REASONS.filter(isStopReason)).toEqual(['user_requested', 'expired', 'hard_max', 'idle', 'drained']);
  expect(FAILURE_REASONS.filter(isStopReason)).toEqual([]);
  expect(isStopReason('')).toBe(false);
});
