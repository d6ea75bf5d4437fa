import { instanceId } from '../../src/provider/ids.ts';
import type { MachinePool } from '../../src/provider/machine-pool.ts';
import type { ProviderOperation } from '../../src/provider/provider-error.ts';
import type { FaultInput } from '../emulators/kit/fault.ts';
import type { LoggedRequest } from '../emulators/kit/request-log.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { aTag } from '../support/provider-calls.ts';
import type { AccountControls, AccountFault } from './world.ts';

/** So many calls that nobody gets past them before `heal`. */
export const UNTIL_HEALED = 1_000_000;

/** The time of a world whose vendor answers over HTTP: it moves only while nothing is under way, and stops at whatever is due. */
export function createWorldTime({
  clock,
  untilQuiet,
}: {
  readonly clock: FakeClock;
  readonly untilQuiet: () => Promise<void>;
}) {
  async function advance(ms: number): Promise<void> {
    await clock.settle();
    await untilQuiet();
    for (let left = ms; left > 0;) {
      // whole milliseconds, since a step that rounding swallows would be taken for ever
      const step = Math.min(left, Math.max(1, Math.ceil(clock.nextWakeInMs ?? left)));
      await clock.advance(step);
      await untilQuiet();
      left -= step;
    }
  }

  return {
    advance,
    /** The answer to somebody else, who waits for the vendor as the adapter does. */
    async whileTimePasses(answer: Promise<Response>): Promise<Response> {
      let isPending = true;
      const done = answer.finally(() => (isPending = false));
      while (isPending) await advance(1);
      return done;
    },
  };
}

/** Tags of ours, each another one. */
export function countTags(): () => ReturnType<typeof aTag> {
  let made = 0;
  return () => aTag((made += 1));
}

/** Instances of others: one bears a tag of another deployment, the next none, and so on. `plant` answers with the id. */
export function plantsForeign(
  plant: (tag: string | undefined) => Promise<string | number>,
): NonNullable<AccountControls['plantForeign']> {
  let planted = 0;
  return async () => {
    planted += 1;
    const tag = planted % 2 === 0 ? undefined : aTag(planted, { deployment: 'other' });
    const id = instanceId(String(await plant(tag)));
    return tag === undefined ? { id } : { id, tag };
  };
}

/** The calls that the vendor found too frequent by itself, and not because it was told to. */
export function foundTooFrequent(calls: readonly LoggedRequest[]): readonly string[] {
  return calls.flatMap(({ status, fault, method, path }) =>
    status === 429 && fault === undefined ? [`${method} ${path}`] : [],
  );
}

export function assertNoneTooFrequent(calls: readonly string[]): void {
  if (calls.length > 0) throw new Error(`the vendor found these calls too frequent: ${calls.join(', ')}`);
}

const PAGE = '<html><body>Please enable JavaScript.</body></html>';
const WRITES: ReadonlySet<ProviderOperation> = new Set(['CreateInstance', 'DestroyInstance', 'AttachSSHKey', 'DetachSSHKey']);

/** What a refusal looks like is the vendor's; an answer that is lost, late or broken looks the same at all of them. */
export type Refusals = Readonly<Record<'capacity' | 'rate_limited' | 'auth', FaultInput>>;

export function misbehaviour(
  operation: ProviderOperation,
  { fault, refusals }: { readonly fault: Exclude<AccountFault, 'funds'>; readonly refusals: Refusals },
): FaultInput {
  switch (fault) {
    case 'capacity':
    case 'rate_limited':
    case 'auth':
      return refusals[fault];
    case 'unavailable':
      return { kind: 'status-before' };
    case 'unreadable':
      // half an answer to a write would mean that it was carried out
      return WRITES.has(operation) ? { kind: 'status-before', status: 200, text: PAGE } : { kind: 'half' };
    case 'lost answer':
      return { kind: 'reset-after' };
    case 'no answer':
      return { kind: 'silence-after' };
  }
}

/** The machine pool of a broker that has none: the adapter named must not ask for it. */
export function noMachinesAt(name: string): MachinePool {
  const refuse = () => Promise.reject(new Error(`${name} has no machines of ours`));
  return { listSlots: refuse, start: refuse, get: refuse, list: refuse, stop: refuse, preflight: refuse };
}
