import type { Store } from '../../src/db/store.ts';
import { aroundEveryCall } from '../../src/provider/decorators/around.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { SshVerifier } from '../../src/ssh/verifier.ts';
import { mapped } from '../support/memory-store.ts';

/** Where a death falls: before the effect, after it, or after it and before its answer reaches the process. */
export const POSITIONS = ['before', 'after', 'unheard'] as const;
export type Position = (typeof POSITIONS)[number];

export interface CrashPoint {
  /** The how manieth effect, from 0. */
  readonly effect: number;
  readonly position: Position;
}

/**
 * Counts what a broker does to the world: every write to its database, every call of a provider, every proof over SSH; and ends the process at
 * one of them. Nothing is counted before `begin`, nor after the death.
 */
export interface Effects {
  /** What was done, in the order of its beginning. */
  readonly done: readonly string[];
  readonly hasStruck: boolean;
  /** Who heard an answer and was to die after it dies now: before time goes on, and before its next effect in any case. */
  endDoomed(): void;
  begin(): void;
  store(store: Store): Store;
  provider(provider: Provider): Provider;
  verifier(verifier: Pick<SshVerifier, 'prove'>): Pick<SshVerifier, 'prove'>;
}

export function createEffects(point: CrashPoint | undefined, die: () => void): Effects {
  const done: string[] = [];
  let isCounting = false;
  let isDoomed = false;
  let hasStruck = false;

  function strike(): void {
    isCounting = false;
    isDoomed = false;
    hasStruck = true;
    die();
  }

  /** `what` may be known only when it is done. */
  async function effect<Result>(what: () => string, carryOut: () => Promise<Result>): Promise<Result> {
    if (isDoomed) {
      strike();
      return unheard();
    }
    if (!isCounting) return carryOut();
    const index = done.length;
    done.push(what());
    const position = point?.effect === index ? point.position : undefined;
    if (position === 'before') {
      strike();
      return unheard();
    }
    try {
      return await carryOut();
    } finally {
      done[index] = what();
      if (position === 'unheard') strike();
      if (position === 'after') isDoomed = true;
    }
  }

  return {
    done,
    get hasStruck() {
      return hasStruck;
    },
    endDoomed: () => {
      if (isDoomed) strike();
    },
    begin: () => void (isCounting = true),
    store: (store) => ({
      ...store,
      write(body, isolation) {
        let statements: string[] = [];
        const told = () => ['write', ...statements].join(' ');
        return effect(told, () =>
          store.write(() => {
            statements = [];
            return mapped(body(), (call) => {
              statements.push(call.definition.name);
              return call;
            });
          }, isolation),
        );
      },
      scrub: () =>
        effect(
          () => 'scrub',
          () => store.scrub(),
        ),
    }),
    provider: (provider) =>
      aroundEveryCall(provider, ({ operation, options, instanceId, request }, proceed) =>
        effect(
          () => [operation, instanceId ?? request?.tag].join(' ').trim(),
          () => proceed(options),
        ),
      ),
    verifier: ({ prove }) => ({
      prove: (request, options) =>
        effect(
          () => 'prove',
          () => prove(request, options),
        ),
    }),
  };
}

/** Whoever died hears nothing of it: its life keeps this from everybody. */
function unheard(): never {
  throw new Error('the process has died');
}
