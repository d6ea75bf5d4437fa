import type { ProviderId } from '../provider/ids.ts';
import type { SessionRepository } from '../sessions/session-repository.ts';
import { StartRefused } from './start-refused.ts';

/**
 * A provider that was taken out of the configuration while sessions of it live could neither be watched nor ended (REL-C7): the start is
 * refused until it is back, or until they have ended.
 */
export async function refuseAbandonedSessions(
  sessions: Pick<SessionRepository, 'countLive' | 'countReappeared'>,
  providers: { readonly has: (id: ProviderId) => boolean },
): Promise<void> {
  const abandoned = new Map<ProviderId, number>();
  for (const { provider, count } of [...(await sessions.countLive()), ...(await sessions.countReappeared())])
    if (!providers.has(provider)) abandoned.set(provider, (abandoned.get(provider) ?? 0) + count);
  if (abandoned.size === 0) return;
  const list = [...abandoned].map(([id, count]) => `${id} (${count})`).join(', ');
  const [first] = abandoned.keys();
  throw new StartRefused(
    `sessions are open at providers that are not configured: ${list}. They would be neither watched nor destroyed. ` +
      `Configure the provider again (PROVIDERS_${String(first).toUpperCase()}_ENABLED=true and its settings), end the sessions, then take it out`,
  );
}
