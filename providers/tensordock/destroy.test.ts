import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { aProvider, API, closeNock, failureOf, id, replyToDelete, replyToGet } from './fixtures/a-provider.ts';
import { badGateway, badToken, deleted, INSTANCE_ID, noRoute, notFound, runningRecord } from './fixtures/bodies.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(closeNock);

describe('tensordock: destroy', () => {
  const destroy = async () => (await aProvider()).provider.destroyInstance(id, uncancelled);

  it.each([
    ['200', 200, deleted],
    ['204', 204, ''],
    ['an empty object', 200, {}],
    ['404', 404, notFound],
    ['404 without a body', 404, ''],
    ['404 in a body of success', 200, { status: 404, error: 'Instance not found' }],
    ['the words of the former API', 200, { success: false, error: 'Machine was already terminated' }],
  ])('CONF-C16: after %s it is gone only when a read says so', async (_, status, body) => {
    replyToDelete(status, body);
    replyToGet(404, notFound);
    expect(await destroy()).toBe('gone');

    replyToDelete(status, body);
    replyToGet(200, runningRecord);
    expect(await destroy()).toBe('destroying');

    replyToDelete(status, body);
    replyToGet(502, badGateway);
    expect(await destroy()).toBe('destroying');
  });

  it.each(['deleted', 'terminated', 'deleting'])(
    'TD-7.2.T9: is not believed to be gone because its row says %s',
    async (status) => {
      replyToDelete(200, deleted);
      replyToGet(200, { ...runningRecord, status });

      expect(await destroy()).toBe('destroying');
    },
  );

  it.each([
    ['500', () => replyToDelete(500, 'Internal Server Error')],
    ['a page for people', () => replyToDelete(200, badGateway)],
    ['no answer', () => nock(API).delete(`/api/v2/instances/${INSTANCE_ID}`).replyWithError({ code: 'ECONNRESET' })],
  ])('TD-7.2.T9: looks what became of a delete that failed, since it may have happened: %s', async (_, reply) => {
    reply();
    replyToGet(404, '');
    expect(await destroy()).toBe('gone');

    reply();
    replyToGet(200, runningRecord);
    expect(await failureOf(destroy())).toMatchObject({ kind: 'unavailable', operation: 'DestroyInstance' });

    reply();
    replyToGet(502, badGateway);
    expect(await failureOf(destroy())).toMatchObject({ kind: 'unavailable', operation: 'DestroyInstance' });
  });

  it.each([
    ['429', 429, '', 'rate_limited'],
    ['500', 500, '', 'unavailable'],
    ['409', 409, { error: 'Instance is creating' }, 'unavailable'],
    ['REL-C4: 400, since it must be stopped', 400, { error: 'Instance must be stopped first' }, 'unavailable'],
    ['TD-7.2.T1: 200 with an error', 200, { status: 400, error: 'Machine is stoppeddisassociated' }, 'rejected'],
    ['200 and false', 200, { success: false }, 'unavailable'],
    ['401', 401, badToken, 'auth'],
    ['a page for people', 200, badGateway, 'unavailable'],
    ['404 as a page', 404, badGateway, 'protocol'],
    ['404 of the address', 404, noRoute, 'protocol'],
    ['301', 301, '', 'protocol'],
  ] as const)('CONF-C16: %s is no destroy', async (_, status, body, kind) => {
    replyToDelete(status, body);
    replyToGet(200, runningRecord);

    expect(await failureOf(destroy())).toMatchObject({ kind, operation: 'DestroyInstance' });
  });

  it('CONF-C19: says that the token went bad in between', async () => {
    replyToDelete(200, deleted);
    replyToGet(401, badToken);

    expect(await failureOf(destroy())).toMatchObject({ kind: 'auth' });
  });
});
