import { intentOf } from '../../src/sessions/intent.ts';
import { systemClock } from '../../src/core/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/core/duration.ts';
import { createIds } from '../../src/core/ids.ts';
import { systemRandom } from '../../src/core/random.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { ownershipTag, parseDeploymentId } from '../../src/provider/ownership-tag.ts';
import { createOfferRepository } from '../../src/offers/offer-repository.ts';
import type { Fact } from '../../src/sessions/fact.ts';
import type { SessionRecord } from '../../src/sessions/session-record.ts';
import { createSessionRepository } from '../../src/sessions/session-repository.ts';
import type { StepRules } from '../../src/sessions/step-rules.ts';
import { step, type Transition } from '../../src/sessions/step.ts';
import type { Attempt } from '../../src/db/tables.ts';
import type { Offer } from '../../src/provider/offer.ts';
import { seededOffers } from './market.ts';
import { newSession } from './new-session.ts';
import { openScratchStore } from './open-scratch-store.ts';

const RULES: StepRules = {
  absenceOf: () => ({ observations: 1, spacingMs: 0, windowMs: 0, kinds: ['get', 'list'] }),
  billingOf: () => ({ starting: 'full', paused: 'none' }),
  bootTimeoutMs: 10 * MINUTE_MS,
  driverTimeoutMs: 5 * MINUTE_MS,
};
const SSH_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHuX9Y0HvWc6cHZoi9z8Zx2Wq1qYyTkR0pZ0n0n0n0n';
const WRITERS = 32;

/** Stores sessions that have run their whole life, with their attempts, events and cost segments, by the real decisions and repository. */
export async function storeEndedSessions(path: string, count: number): Promise<void> {
  const store = await openScratchStore(path);
  try {
    const sessions = createSessionRepository(store);
    const claims = createOfferRepository(store);
    const offers = seededOffers(500);
    const ids = createIds({ clock: systemClock, random: systemRandom });
    let left = count;
    const write = async () => {
      while (left > 0) {
        left -= 1;
        const offer = offers[left % offers.length];
        if (!offer) throw new Error('the simulated market is empty');
        const id = ids.session();
        const at = systemClock.now() - 24 * HOUR_MS + left * 1_000;
        const session = newSession({ id, offer, at, sshPublicKey: SSH_KEY });
        const { outcome } = await sessions.insert({
          session,
          event: { sessionId: id, version: 1, kind: 'session.requested', at, data: { offer_id: offer.id } },
          secrets: [],
          beside: function* () {
            return (yield* claims.claim({ offerId: offer.id, units: 1, sessionId: id, consumerId: 'bench', at })) !== undefined;
          },
        });
        if (outcome !== 'created') throw new Error(`a session was not stored: ${outcome}`);
        const born: SessionRecord = { session, attempts: [] };
        const saved = await sessions.save(born, wholeLife(born, offer, left));
        if (saved !== 'saved') throw new Error(`a life was not saved: ${saved}`);
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, write));
  } finally {
    await store.close();
  }
}

/** Every step from the first attempt to the settled bill, as one transition. */
function wholeLife(born: SessionRecord, offer: Offer, ordinalOfInstance: number): Transition {
  const attempt = newAttempt(born, offer);
  const common = { id: instanceId(`sim-${ordinalOfInstance}`), tag: attempt.tag, priceMicrosPerHour: offer.priceMicrosPerHour };
  const proof = { user: 'root', hostKey: SSH_KEY, host: '127.0.0.1', port: 20_000, details: {} };
  const ssh = { user: 'root', routes: [{ host: '127.0.0.1', port: 20_000 }] };
  const facts: readonly (readonly [minutes: number, fact: Fact])[] = [
    [0, { kind: 'attempt_begun', attempt }],
    [0.1, { kind: 'create_accepted', ordinal: 1, instance: { ...common, state: 'starting' } }],
    [1, { kind: 'seen', ordinal: 1, by: 'get', instance: { ...common, state: 'running', ssh } }],
    [1.1, { kind: 'proof_phase', ordinal: 1, phase: 'connecting' }],
    [1.2, { kind: 'proven', ordinal: 1, proof }],
    [30, { kind: 'stop_requested', reason: 'user_requested' }],
    [30.1, { kind: 'destroy_answered', ordinal: 1, result: 'gone' }],
    [31, { kind: 'missing', ordinal: 1, by: 'get' }],
    [31.1, { kind: 'missing', ordinal: 1, by: 'list' }],
    [32, { kind: 'settled', costMicros: offer.priceMicrosPerHour >> 1 }],
  ];
  let record = born;
  const life = { events: [], segments: [], releasedOffers: [], failures: [], shredded: [] } as Pick<
    Transition,
    'events' | 'segments' | 'releasedOffers' | 'failures' | 'shredded'
  >;
  let last: Transition | undefined;
  for (const [minutes, fact] of facts) {
    const now = born.session.createdAt + Math.round(minutes * MINUTE_MS);
    const next = step(record, fact, now, RULES);
    if (!next) continue;
    last = next;
    record = { session: { ...next.session, updatedAt: now }, attempts: next.attempts };
    life.events.push(...next.events);
    life.segments.push(...next.segments);
    life.releasedOffers.push(...next.releasedOffers);
  }
  if (!last || record.session.status !== 'stopped' || record.session.settledCostMicros === null)
    throw new Error(`the life did not end as it should: ${record.session.status}, ${record.session.phase}`);
  return { ...last, ...life, session: record.session };
}

function newAttempt({ session }: SessionRecord, offer: Offer): Attempt {
  const deployment = parseDeploymentId('benchmark');
  if (deployment === undefined) throw new Error('the deployment id of the benches breaks the rule');
  const { id, createdAt: at } = session;
  return intentOf({
    sessionId: id,
    ordinal: 1,
    tag: ownershipTag({ deployment, sessionId: id, ordinal: 1 }),
    offer,
    priceMicrosPerHour: offer.priceMicrosPerHour,
    capMicrosPerHour: offer.priceMicrosPerHour * 2,
    probe: { publicKey: SSH_KEY, secretId: `sec_${id.slice(4)}` },
    at,
    fenceMs: 30_000,
    callTimeoutMs: 30_000,
  });
}
