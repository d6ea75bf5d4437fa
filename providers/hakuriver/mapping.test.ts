import { describe, expect, it } from 'vitest';
import {
  endingOf,
  explain,
  failure,
  LOGIN_USER,
  phaseOf,
  read,
  saysNoSuchTask,
  saysRunnerUnreachable,
  saysStartFailed,
} from './mapping.ts';

const said = (status: number, detail?: unknown) => read({ status, body: detail === undefined ? undefined : { detail } });
const toCreate = (status: number, detail?: unknown) => explain(said(status, detail), 'CreateInstance');
const toOther = (status: number, detail?: unknown) => explain(said(status, detail), 'ListAllInstances');

const NO_LEAVE = 'the Host refused the token, or its role may not do that: it has to be operator or higher (HAKURIVER_TOKEN)';
const OTHER_VERSION = 'the Host has no such route; is HAKURIVER_HOST_URL the address of the Host?';
const INVALID = 'the Host refused the request as invalid';
const NOT_STARTED = 'the machine could not start it: no such environment or image, or a GPU that does not work';
const GAVE_UP = 'the server gave up; it may have happened';

describe('what an answer says', () => {
  it('is its detail, in lower case, cut where it is endless', () => {
    expect(said(404, ' Task Not Found ')).toEqual({ status: 404, detail: 'task not found', isJson: true });
    expect(said(422, [{ msg: 'field required' }])).toEqual({ status: 422, detail: 'invalid fields', isJson: true });
    expect(said(400, 'x'.repeat(5_000)).detail).toHaveLength(4_000);
  });

  it('is nothing where there is none', () => {
    expect(read({ status: 502, body: undefined })).toEqual({ status: 502, detail: '', isJson: false });
    expect(read({ status: 500, body: 'no' })).toEqual({ status: 500, detail: '', isJson: true });
    expect(read({ status: 500, body: {} })).toEqual({ status: 500, detail: '', isJson: true });
  });
});

describe('a refused create', () => {
  it.each<[number, unknown, string, string]>([
    [429, undefined, 'rate_limited', 'too many requests; nothing was done'],
    [503, 'Failed to schedule task', 'capacity', 'the machine cannot take it'],
    [503, 'No suitable node found', 'capacity', 'the machine has no room for it, or is offline'],
    [503, 'Failed to schedule task: insufficient available cores', 'capacity', 'the machine has not enough free cores'],
    [503, 'Failed to schedule task: insufficient available memory', 'capacity', 'the machine has not enough free memory'],
    [503, 'Failed to schedule task: requested GPUs not available', 'capacity', 'the GPUs of the offer are in use by others'],
    [503, 'Failed to schedule task: invalid GPU ids', 'capacity', 'the machine no longer has the GPUs of the offer'],
    [503, 'Failed to schedule task: node not registered', 'capacity', 'the machine is no longer in the cluster'],
    [503, 'Failed to schedule task: node status is offline', 'capacity', 'the machine is offline'],
    [502, 'Runner rejected the task: node status is', 'capacity', NOT_STARTED],
    [401, undefined, 'auth', NO_LEAVE],
    [403, 'operator role required', 'auth', NO_LEAVE],
    [404, 'Not Found', 'unavailable', OTHER_VERSION],
    [405, 'Method Not Allowed', 'unavailable', OTHER_VERSION],
    [408, undefined, 'ambiguous', GAVE_UP],
    [425, 'x', 'ambiguous', GAVE_UP],
    [499, 'x', 'ambiguous', GAVE_UP],
    [400, 'bad', 'rejected', INVALID],
    [404, 'no such image', 'rejected', INVALID],
    [422, [{ msg: 'field required' }], 'rejected', INVALID],
    [400, undefined, 'protocol', 'the answer cannot be read'],
    [404, undefined, 'protocol', 'the answer cannot be read'],
  ])('by %i %j is %s: %s', (status, detail, kind, why) => {
    expect(toCreate(status, detail)).toEqual({ kind, why });
  });

  it.each<[number, unknown]>([
    [500, 'Failed to schedule task'],
    [503, 'busy'],
    [502, 'bad gateway'],
    [503, undefined],
    [301, 'moved'],
  ])('by %i %j means nothing', (status, detail) => {
    expect(toCreate(status, detail)).toBeUndefined();
  });
});

describe('a refusal of any other call', () => {
  it.each<[number, unknown, string, string]>([
    [429, undefined, 'rate_limited', 'too many requests; nothing was done'],
    [401, undefined, 'auth', NO_LEAVE],
    [403, 'x', 'auth', NO_LEAVE],
    [500, 'x', 'unavailable', 'the Host failed'],
    [503, 'No suitable node found', 'unavailable', 'the Host failed'],
    [408, undefined, 'unavailable', 'the server gave up'],
    [425, undefined, 'unavailable', 'the server gave up'],
    [499, undefined, 'unavailable', 'the server gave up'],
    [409, 'x', 'unavailable', 'not possible in the present state'],
    [404, 'x', 'protocol', OTHER_VERSION],
    [405, undefined, 'protocol', OTHER_VERSION],
    [400, 'bad', 'rejected', INVALID],
  ])('by %i %j is %s: %s', (status, detail, kind, why) => {
    expect(toOther(status, detail)).toEqual({ kind, why });
  });

  it('means nothing by an error without a word, or a redirect', () => {
    expect([toOther(400), toOther(301, 'moved')]).toEqual([undefined, undefined]);
  });

  it('keeps the status in its cause', () => {
    expect(failure({ operation: 'ListAllInstances', kind: 'auth', why: NO_LEAVE, said: said(401) })).toMatchObject({
      provider: 'hakuriver',
      cause: { message: 'HTTP 401' },
    });
  });
});

describe('an id that no row has', () => {
  it.each<[number, string, boolean]>([
    [404, 'Task not found', true],
    [404, 'Task not found.', true],
    [404, 'VPS not found', true],
    [404, 'VPS task not found', true],
    [404, 'Task instance not found', true],
    [404, "Task with id '123' not found", true],
    [404, 'Task 12345678901234567890 was not found', true],
    [404, 'Task id "7" could not be found', true],
    [404, 'Task is not found', true],
    [404, 'Not Found', false],
    [404, 'No task not found', false],
    [404, 'Task 123456789012345678901 not found', false],
    [404, 'Task abc not found', false],
    [404, 'Tasks not found', false],
    [404, 'Task is running', false],
    [400, 'Task not found', false],
  ])('is told by %i %j: %s', (status, detail, told) => {
    expect(saysNoSuchTask(said(status, detail))).toBe(told);
  });
});

describe('the phase of a row', () => {
  it.each([
    ['assigning', 'starting'],
    ['pending', 'starting'],
    ['pending_approval', 'starting'],
    ['running', 'running'],
    ['Running', 'running'],
    ['paused', 'paused'],
    ['lost', 'lost'],
    ['completed', 'ended'],
    ['failed', 'ended'],
    ['killed', 'ended'],
    ['killed_oom', 'ended'],
    ['stopped', 'ended'],
    ['rejected', 'ended'],
    ['hibernating', 'unknown'],
    ['', 'unknown'],
    [undefined, 'unknown'],
  ])('%j is %s', (status, phase) => {
    expect(phaseOf({ status, ssh_port: 22_000 })).toBe(phase);
  });

  it('of a running one without a port is portless, and of no other', () => {
    expect(phaseOf({ status: 'running', ssh_port: undefined })).toBe('portless');
    expect(phaseOf({ status: 'paused', ssh_port: undefined })).toBe('paused');
  });
});

describe('the end of a row', () => {
  it.each([
    ['completed', 'the VPS ended by itself'],
    ['failed', 'the machine could not start the VPS, or it broke down'],
    ['killed', 'somebody else killed the VPS'],
    ['killed_oom', 'the VPS was killed because it ran out of memory'],
    ['Stopped', 'the container of the VPS is gone from its machine'],
    ['rejected', 'an operator of the cluster did not approve the VPS'],
    ['hibernating', 'the VPS has ended'],
    [undefined, 'the VPS has ended'],
  ])('%j: %s', (status, ending) => {
    expect(endingOf({ status, exit_code: undefined })).toBe(ending);
    expect(endingOf({ status, exit_code: 0 })).toBe(ending);
    expect(endingOf({ status, exit_code: 137 })).toBe(`${ending} (exit code 137)`);
  });
});

describe('a start that failed', () => {
  const unreachable = 'Failed to contact runner at 10.0.0.7: all attempts failed';

  it.each<[string | undefined, string | undefined, boolean]>([
    ['failed', unreachable, true],
    ['failed', 'FAILED TO CONTACT RUNNER: connection refused', true],
    ['failed', 'failed to contact runner: ConnectError', true],
    ['failed', 'failed to contact runner: read timeout', false],
    ['failed', 'connection refused', false],
    ['failed', undefined, false],
    ['killed', unreachable, false],
    [undefined, unreachable, false],
  ])('since nobody is at the Runner’s address: %j %j: %s', (status, message, told) => {
    expect(saysRunnerUnreachable({ status, error_message: message })).toBe(told);
  });

  it.each<[string | undefined, string | undefined, number | undefined, boolean]>([
    ['failed', unreachable, undefined, true],
    ['failed', 'Runner rejected the task', undefined, true],
    ['failed', undefined, 1, true],
    ['failed', undefined, 0, false],
    ['failed', undefined, -1, false],
    ['failed', undefined, undefined, false],
    ['failed', 'it broke', undefined, false],
    ['killed', 'Runner rejected the task', 1, false],
  ])('as its machine said: %j %j %j: %s', (status, message, code, told) => {
    expect(saysStartFailed({ status, error_message: message, exit_code: code })).toBe(told);
  });
});

it('one logs in as root', () => {
  expect(LOGIN_USER).toBe('root');
});
