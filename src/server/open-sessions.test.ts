import { describe, expect, it } from 'vitest';
import { providerId } from '../provider/ids.ts';
import { refuseAbandonedSessions } from './open-sessions.ts';

const open = (...rows: [string, number][]) => ({
  countLive: async () =>
    rows.map(([provider, count]) => ({ provider: providerId(provider), status: 'running' as const, count })),
  countReappeared: async () => [],
});

describe('refuseAbandonedSessions', () => {
  it('REL-C7: refuses a start that would leave open sessions without their provider, and names the switch', async () => {
    const start = refuseAbandonedSessions(open(['vastai', 2], ['vastai', 1], ['pool', 1]), new Set([providerId('pool')]));

    await expect(start).rejects.toThrow(/not configured: vastai \(3\).*PROVIDERS_VASTAI_ENABLED=true/);
  });

  it('REL-C7, REL-C16: the same for an instance that came back after its session had ended', async () => {
    const sessions = { ...open(), countReappeared: async () => [{ provider: providerId('vastai'), count: 1 }] };

    await expect(refuseAbandonedSessions(sessions, new Set())).rejects.toThrow(/not configured: vastai \(1\)/);
  });

  it('lets a start pass when every open session has its provider', async () => {
    await expect(refuseAbandonedSessions(open(['pool', 1]), new Set([providerId('pool')]))).resolves.toBeUndefined();
    await expect(refuseAbandonedSessions(open(), new Set())).resolves.toBeUndefined();
  });
});
