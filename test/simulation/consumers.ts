import { MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { BrokerError } from '../../src/core/errors.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { EpochMs } from '../../src/core/clock.ts';
import { offerId } from '../../src/provider/ids.ts';
import { CONSUMER_KEY } from '../support/world.ts';
import type { Replica } from '../support/replica.ts';
import type { BrokerProcess } from './broker-process.ts';
import type { Dice } from './dice.ts';
import type { SimClock } from './sim-clock.ts';
import type { Trace } from './trace.ts';

/** What a consumer was told: it must be true for ever after. */
export interface Acknowledged {
  readonly sessionId: SessionId;
  stopped: boolean;
  /** The latest expiry that was told. */
  expiresAt: EpochMs;
  /** The database that knew of it was lost. */
  isLost: boolean;
}

/** What a database says of a session. */
export interface Kept {
  readonly isStopped: boolean;
  readonly expiresAt: EpochMs;
}

export interface Consumers {
  readonly acknowledged: readonly Acknowledged[];
  /** Orders that were answered with an error, or never. */
  readonly refused: ReadonlyMap<string, number>;
  /** The database was replaced by an older one: what that does not say was told in vain. */
  rollBack(keptOf: (id: SessionId) => Kept | undefined): void;
  /** Stops everything that somebody was told of. */
  stopAll(): Promise<void>;
  readonly busy: number;
}

interface ConsumersDeps {
  readonly clock: SimClock;
  readonly dice: Dice;
  readonly processes: readonly BrokerProcess[];
  readonly offers: readonly string[];
  readonly trace: Trace;
  readonly sessions: number;
  readonly overMs: number;
}

/** How long a consumer waits for an answer before asking again, with the same key. */
const PATIENCE_MS = 40 * SECOND_MS;
const MOST_TRIES = 6;

/** People and scripts that order, extend and stop, and ask again when nobody answers (REL-G1, REL-G4). */
export function startConsumers({ clock, dice, processes, offers, trace, sessions, overMs }: ConsumersDeps): Consumers {
  const acknowledged: Acknowledged[] = [];
  const refused = new Map<string, number>();
  let busy = sessions;

  const note = (what: string): void => void refused.set(what, (refused.get(what) ?? 0) + 1);

  /** Asks whichever broker is up; undefined when none answers. */
  async function ask<Answer>(
    what: string,
    question: (replica: Replica) => Promise<Answer>,
  ): Promise<Answer | BrokerError | undefined> {
    for (let tried = 0; tried < MOST_TRIES; tried += 1) {
      const up = processes.filter(({ isUp }) => isUp);
      if (up.length > 0) {
        const { replica } = dice.pick(up);
        const patience = new AbortController();
        const answer = replica && (await Promise.race([answerOf(question(replica)), nobody(patience.signal)]));
        patience.abort();
        if (answer?.kind === 'answer') return answer.value;
        if (answer?.kind === 'refused') return answer.error;
      }
      await clock.sleep(dice.between(1, 15) * SECOND_MS);
    }
    trace.note('consumers', what, 'gave up');
    return undefined;
  }

  async function nobody(signal: AbortSignal): Promise<{ readonly kind: 'silence' }> {
    await clock.sleep(PATIENCE_MS, signal).catch(() => undefined);
    return { kind: 'silence' };
  }

  async function use(index: number): Promise<void> {
    await clock.sleep(dice.between(0, overMs));
    const reservationMinutes = dice.whole(5, 20);
    const isNamed = dice.chance(0.4);
    const request = {
      ...(isNamed ? { offerId: offerId(dice.pick(offers)) } : {}),
      environment: {},
      autoRetry: dice.chance(0.7),
      maxRetries: 5,
      retryScope: dice.pick(['same_gpu', 'same_vram', 'any'] as const),
      storagePolicy: 'destroy',
      launchMode: 'ssh',
    };
    const made = await ask('order', (replica) =>
      replica.commands.request({
        consumerId: `consumer-${index % 3}`,
        workloadType: 'ssh',
        reservationMinutes,
        idleThresholdMinutes: 0,
        sshPublicKey: CONSUMER_KEY,
        metadata: {},
        warnings: [],
        maxAttempts: 6,
        request,
        idempotency: { key: `order-${index}`, bodyHash: `body-${index}` },
      }),
    );
    if (made === undefined || made instanceof BrokerError) return note(made?.code ?? 'no answer');
    const { session } = made.record;
    const told: Acknowledged = { sessionId: session.id, stopped: false, expiresAt: session.expiresAt, isLost: false };
    acknowledged.push(told);
    trace.note('consumers', 'was told', session.id);

    await clock.sleep(dice.between(0, 1.2) * reservationMinutes * MINUTE_MS);
    if (dice.chance(0.2)) await extend(told);
    if (dice.chance(0.6)) await stop(told);
  }

  async function extend(told: Acknowledged): Promise<void> {
    const answer = await ask('extend', (replica) => replica.commands.extend(told.sessionId, 5));
    if (answer && !(answer instanceof BrokerError)) told.expiresAt = Math.max(told.expiresAt, answer.session.expiresAt);
  }

  async function stop(told: Acknowledged): Promise<void> {
    const answer = await ask('stop', (replica) => replica.commands.stop(told.sessionId, 'user_requested'));
    if (answer && !(answer instanceof BrokerError)) told.stopped = true;
  }

  for (let index = 0; index < sessions; index += 1)
    void use(index).finally(() => {
      busy -= 1;
    });

  return {
    acknowledged,
    refused,
    get busy() {
      return busy;
    },
    rollBack(keptOf) {
      for (const told of acknowledged) {
        const kept = keptOf(told.sessionId);
        if (!kept) told.isLost = true;
        else Object.assign(told, { stopped: kept.isStopped, expiresAt: kept.expiresAt });
      }
    },
    stopAll: async () => void (await Promise.all(acknowledged.filter(({ stopped }) => !stopped).map(stop))),
  };
}

type Answered<Answer> =
  | { readonly kind: 'answer'; readonly value: Answer }
  | { readonly kind: 'refused'; readonly error: BrokerError }
  | { readonly kind: 'failed' };

/** What the HTTP edge would make of it: an error of ours is an answer, a database that fails is a 5xx, and asked again. */
async function answerOf<Answer>(answer: Promise<Answer>): Promise<Answered<Answer>> {
  try {
    return { kind: 'answer', value: await answer };
  } catch (error) {
    return error instanceof BrokerError ? { kind: 'refused', error } : { kind: 'failed' };
  }
}
