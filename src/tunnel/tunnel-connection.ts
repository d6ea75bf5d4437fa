import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../core/duration.ts';
import type { SessionId } from '../core/ids.ts';
import { reachInstance, type Dial } from './reach-instance.ts';
import { splice, type Direction } from './splice.ts';

/** Why a connection is over. A closed list: metrics have it as a label. */
export const CONNECTION_ENDS = [
  /** Both sides had said their last word. */
  'finished',
  /** One side broke off. */
  'broken',
  'session_over',
  'idle',
  'too_long',
  /** One side had ended, and the other was silent for too long after it. */
  'half_open',
  'shutdown',
  /** Its client said nothing within its grace. */
  'silent',
  /** Its client had said nothing yet when others needed the room. */
  'crowded_out',
  /** The instance could not be reached. */
  'unreachable',
  /** Its client left before the instance was reached. */
  'left',
] as const;

export type ConnectionEnd = (typeof CONNECTION_ENDS)[number];

/**
 * One connection of a client to a session's port.
 *
 * - `reaching`: the instance is being dialled; what the client says meanwhile is held. Left when its sshd names itself, or never.
 * - `greeting`: spliced, but the client has not said a word yet. Left with its first.
 * - `open`: both sides have spoken.
 */
export interface TunnelConnection {
  readonly sessionId: SessionId;
  /** Counts against the few that may be under way before anybody has logged in. */
  isYoung(): boolean;
  /** Young, and nothing was heard of its client: the first to go where there is no room. */
  isSilent(): boolean;
  /** Ends it where one of its limits has passed. */
  enforceLimits(): void;
  close(end: ConnectionEnd): void;
  /** Resolves when both of its streams are closed. */
  readonly closed: Promise<void>;
}

export interface ConnectionLimits {
  /** From its first moment until both sides have spoken. */
  readonly graceMs: number;
  readonly dialBudgetMs: number;
  /** 0: none. */
  readonly idleMs: number;
  /** 0: none. */
  readonly longestMs: number;
}

export const YOUNG_LIMITS = { graceMs: 30 * SECOND_MS, dialBudgetMs: 20 * SECOND_MS } as const;
const HALF_OPEN_MS = MINUTE_MS;
/** What a client may say before the instance is reached; a whole key exchange is a few KiB. */
const MOST_HELD_BYTES = 65_536;

interface ConnectionDeps {
  readonly sessionId: SessionId;
  readonly consumer: Duplex;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly onBytes: (direction: Direction, bytes: number) => void;
  readonly onDialFailure: (error: unknown) => void;
  /** Told once. */
  readonly onEnd: (end: ConnectionEnd) => void;
}

export function createTunnelConnection(deps: ConnectionDeps): TunnelConnection {
  const { sessionId, consumer, dial, clock, limits } = deps;
  const startedMs = clock.monotonicMs();
  const over = new AbortController();
  let stage: 'reaching' | 'greeting' | 'open' = 'reaching';
  let hasSpoken = false;
  let isHalfOpen = false;
  let lastByteMs = startedMs;
  let instance: Duplex | undefined;
  let end: ConnectionEnd | undefined;

  function conclude(why: ConnectionEnd): boolean {
    if (end !== undefined) return false;
    end = why;
    over.abort(new Error(`the connection is over: ${why}`));
    deps.onEnd(why);
    return true;
  }

  function close(why: ConnectionEnd): void {
    if (!conclude(why)) return;
    consumer.destroy();
    instance?.destroy();
  }

  function passed(direction: Direction, bytes: number): void {
    lastByteMs = clock.monotonicMs();
    if (direction === 'to_instance') heard();
    deps.onBytes(direction, bytes);
  }

  function heard(): void {
    hasSpoken = true;
    if (stage === 'greeting') stage = 'open';
  }

  async function run(): Promise<void> {
    const held = hold({ consumer, onFirst: heard, onGone: () => close('left') });
    try {
      instance = await reachInstance({
        dial,
        clock,
        signal: over.signal,
        budgetMs: limits.dialBudgetMs,
        onFailure: deps.onDialFailure,
      });
    } catch {
      if (conclude('unreachable'))
        sayAndClose(consumer, 'the machine of this session does not answer on its SSH port; try again soon');
      return;
    } finally {
      held.stop();
    }
    if (end !== undefined) return void instance.destroy();
    stage = hasSpoken ? 'open' : 'greeting';
    const first = held.bytes();
    if (first.length > 0) {
      passed('to_instance', first.length);
      instance.write(first);
    }
    const halfClosed = () => {
      isHalfOpen = true;
      lastByteMs = clock.monotonicMs();
    };
    close(await splice({ consumer, instance, onBytes: passed, onHalfClose: halfClosed }));
  }

  return {
    sessionId,
    isYoung: () => stage !== 'open',
    isSilent: () => stage !== 'open' && !hasSpoken,
    enforceLimits() {
      const nowMs = clock.monotonicMs();
      const silentMs = nowMs - lastByteMs;
      if (stage !== 'open' && nowMs - startedMs >= limits.graceMs) close(hasSpoken ? 'unreachable' : 'silent');
      else if (limits.longestMs > 0 && nowMs - startedMs >= limits.longestMs) close('too_long');
      else if (limits.idleMs > 0 && silentMs >= limits.idleMs) close('idle');
      else if (isHalfOpen && silentMs >= HALF_OPEN_MS) close('half_open');
    },
    close,
    closed: run(),
  };
}

/** A word for people before the end: clients show lines that come before a server's name when asked to be verbose. */
export function sayAndClose(consumer: Duplex, sentence: string): void {
  consumer.on('error', () => {});
  consumer.end(`Berth: ${sentence}\r\n`, () => consumer.destroy());
}

/** Keeps what a client says until somebody hears it, and notices when it leaves. */
function hold({ consumer, onFirst, onGone }: { consumer: Duplex; onFirst: () => void; onGone: () => void }) {
  const pieces: Buffer[] = [];
  let size = 0;
  const received = (piece: Buffer) => {
    onFirst();
    pieces.push(piece);
    size += piece.length;
    if (size >= MOST_HELD_BYTES) consumer.pause();
  };
  const ended = () => {
    if (size === 0) onGone(); // who looked whether the port is open
  };
  consumer.on('error', () => {});
  consumer.on('data', received).on('end', ended).on('close', onGone).resume();
  return {
    bytes: () => Buffer.concat(pieces),
    stop: () => void consumer.pause().off('data', received).off('end', ended).off('close', onGone),
  };
}
