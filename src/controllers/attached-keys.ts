import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Attempt, Session } from '../db/tables.ts';
import { ProviderError } from '../provider/provider-error.ts';
import type { Provider } from '../provider/provider.ts';

interface AttachedKeysDeps {
  readonly session: Pick<Session, 'id' | 'sshPublicKey'>;
  readonly attempt: Pick<Attempt, 'instanceId' | 'probePublicKey'>;
  readonly provider: Provider;
  readonly clock: Clock;
  readonly log: Log;
  readonly callTimeoutMs: number;
}

/** So often the login has to be refused before the probe key is attached as well: until then the boot may still bring it. */
const REFUSALS_BEFORE_PROBE = 3;

/**
 * Keys of an instance that its vendor keeps, for vendors that attach them after the create. The consumer's goes there at once. The probe key
 * only when it does not get in otherwise, since what the vendor keeps can be written back after the hand-off has removed it.
 * A failure here is no failure of the instance: it is asked again, and the proof is the login.
 */
export function createAttachedKeys({ session, attempt, provider, clock, log, callTimeoutMs }: AttachedKeysDeps) {
  const { instanceId, probePublicKey } = attempt;
  let attached = 0;

  async function ask(what: string, call: () => Promise<void>): Promise<boolean> {
    try {
      await call();
      return true;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.warn({ sessionId: session.id, provider: provider.id, kind: error.kind, error: describeError(error) }, what);
      return false;
    }
  }

  return {
    /** To be called whenever the instance was seen running. */
    async ensure(refusedLogins: number, signal: AbortSignal): Promise<void> {
      const keys = refusedLogins < REFUSALS_BEFORE_PROBE ? [session.sshPublicKey] : [session.sshPublicKey, probePublicKey];
      if (instanceId === null || !provider.ensureSshKeys || attached >= keys.length) return;
      const options = { signal: clock.timeoutSignal(callTimeoutMs, signal) };
      if (await ask('keys could not be attached', async () => provider.ensureSshKeys?.(instanceId, keys, options)))
        attached = keys.length;
    },

    /** At the hand-off: the vendor forgets the probe key, whoever brought it there. */
    async forgetProbe(signal: AbortSignal): Promise<void> {
      if (instanceId === null || !provider.removeSshKeys) return;
      const options = { signal: clock.timeoutSignal(callTimeoutMs, signal) };
      await ask('the probe key could not be taken back from the provider', async () =>
        provider.removeSshKeys?.(instanceId, [probePublicKey], options),
      );
    },
  };
}

export type AttachedKeys = ReturnType<typeof createAttachedKeys>;
