import { describe, expect, it } from 'vitest';
import type { SessionId } from '../core/ids.ts';
import { DEPLOYMENT_ID_RULE, ownershipTag, parseDeploymentId, parseOwnershipTag, type DeploymentId } from './ownership-tag.ts';

const SUFFIX = '01h455vb4pex5vsknk084sn02q';
const sessionId: SessionId = `ses_${SUFFIX}`;
const deployment = 'prod01' as DeploymentId; // by its rule
const TAG = `berth-prod01-${SUFFIX}-1`;

describe('a deployment id', () => {
  it.each(['abcd', 'prod01', 'abcdefghijkl'])('may be %s', (text) => {
    expect(parseDeploymentId(text)).toBe(text);
  });

  it.each(['', 'abc', 'abcdefghijklm', 'Prod', 'pro-d', 'prod\n', ' prod', 'prod '])('may not be %j', (text) => {
    expect(parseDeploymentId(text)).toBeUndefined();
  });

  it('has a rule that people can read', () => {
    expect(DEPLOYMENT_ID_RULE).toBe('4 to 12 characters of a-z and 0-9');
  });
});

describe('an ownership tag', () => {
  it('is made of the deployment, the session and the attempt, and read back as these', () => {
    expect(ownershipTag({ deployment, sessionId, ordinal: 1 })).toBe(TAG);
    expect(parseOwnershipTag(TAG)).toEqual({ tag: TAG, deployment, sessionId, ordinal: 1 });
  });

  it('has 48 characters at most, with the longest deployment id and 99 attempts', () => {
    expect(ownershipTag({ deployment: 'abcdefghijkl' as DeploymentId, sessionId, ordinal: 99 })).toHaveLength(48); // by its rule
  });

  it('counts 999 attempts', () => {
    expect(parseOwnershipTag(ownershipTag({ deployment, sessionId, ordinal: 999 }))?.ordinal).toBe(999);
  });

  it.each([
    ['an attempt beyond that', { deployment, sessionId, ordinal: 1_000 }],
    ['no attempt', { deployment, sessionId, ordinal: 0 }],
    ['what is no session id', { deployment, sessionId: 'ses_1' as const, ordinal: 1 }],
    ['what is no deployment id', { deployment: 'abc' as DeploymentId, sessionId, ordinal: 1 }],
  ])('is not made of %s', (_, parts) => {
    expect(() => ownershipTag(parts)).toThrow(RangeError);
    expect(() => ownershipTag(parts)).toThrow('not an ownership tag: berth-');
  });

  it.each([
    '',
    SUFFIX,
    `x${TAG}`,
    `${TAG}x`,
    `${TAG}-2`,
    `berth-pro-${SUFFIX}-1`,
    `berth-abcdefghijklm-${SUFFIX}-1`,
    `berth-PROD-${SUFFIX}-1`,
    `berth-prod01-${SUFFIX}-0`,
    `berth-prod01-${SUFFIX}-01`,
    `berth-prod01-${SUFFIX}-1000`,
    `berth-prod01-${SUFFIX}-1a`,
    `berth-prod01-${SUFFIX}`,
    `berth-prod01-8${SUFFIX.slice(1)}-1`,
    `berth-prod01-${SUFFIX.slice(1)}-1`,
    `berth-prod01-${SUFFIX}0-1`,
    `berth-prod01-${SUFFIX.slice(0, -1)}u-1`,
    `BERTH-prod01-${SUFFIX}-1`,
  ])('is not %s', (text) => {
    expect(parseOwnershipTag(text)).toBeUndefined();
  });
});
