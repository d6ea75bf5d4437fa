import type { Clock } from '../../src/core/clock.ts';
import type { SshVerifier } from '../../src/ssh/verifier.ts';
import { gpuMismatch, notYet, proves, wrongHost, type Scene } from '../support/scripted-ssh.ts';
import type { Cloud, SshFate } from './cloud.ts';
import type { Dice } from './dice.ts';

const SCENES: Readonly<Record<SshFate, Scene>> = {
  proves,
  never: notYet('auth_failed'),
  other: wrongHost,
  'wrong-gpu': gpuMismatch,
};

interface LoginDeps {
  readonly clouds: readonly Cloud[];
  readonly clock: Clock;
  readonly dice: Dice;
}

/** Logins that meet what is at their address: nobody, or an instance with its own fate. */
export function createLogins({ clouds, clock, dice }: LoginDeps): Pick<SshVerifier, 'prove'> {
  return {
    async prove(request, options) {
      await clock.sleep(dice.between(50, 800), options.signal);
      const { routes } = request.access;
      const port = routes === 'dial' ? undefined : routes[0]?.port;
      const met = clouds.map((cloud) => cloud.sshFateAt(port ?? 0)).find(({ isUp }) => isUp);
      return (met ? SCENES[met.fate] : notYet('connection_refused'))(request, options);
    },
  };
}
