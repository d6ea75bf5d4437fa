import { describe, expect, it } from 'vitest';
import { isSessionId } from '../../src/core/ids.ts';
import { ownershipTag, parseDeploymentId, parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import { countedIds } from './counted-ids.ts';

describe('countedIds', () => {
  it('counts each kind by itself, in order', () => {
    const ids = countedIds();

    expect([ids.session(), ids.session(), ids.stray()]).toEqual([
      'ses_00000000000000000000000001',
      'ses_00000000000000000000000002',
      'str_00000000000000000000000001',
    ]);
  });

  it('makes session ids that live in an ownership tag', () => {
    const sessionId = countedIds().session();
    const deployment = parseDeploymentId('test');
    if (!deployment) throw new Error('not a deployment id');

    const tag = ownershipTag({ deployment, sessionId, ordinal: 1 });

    expect(isSessionId(sessionId)).toBe(true);
    expect(parseOwnershipTag(tag)).toEqual({ tag, deployment, sessionId, ordinal: 1 });
  });
});
