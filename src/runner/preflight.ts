import { RunnerFailure } from '../runner-protocol/runner-link.ts';
import type { DockerEngine } from './docker-engine.ts';
import { EngineError } from './engine-error.ts';
import { publishAddress } from './publish-address.ts';
import type { SshdCheck } from './sshd-check.ts';

/** What keeps this machine from running sessions of `image`, in plain words with the fix; undefined when nothing does. */
export async function preflight(
  deps: { engine: DockerEngine; sshd: SshdCheck; config: { readonly publishHost: string } },
  image: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const info = await deps.engine.info(signal);
    if (info.OSType !== undefined && info.OSType !== null && info.OSType !== 'linux') {
      return `the Docker engine runs ${info.OSType} containers: switch it to Linux containers`;
    }
    await publishAddress(deps.config.publishHost);
    const found = await deps.engine.image(image, signal);
    if (found === undefined) {
      return `image ${image} is not on this machine: run "npm run image", or pull it and set POOL_IMAGE`;
    }
    if (!(await deps.sshd.hasSshd(image, found, signal))) {
      return `image ${image} has no SSH server: run "npm run image", or install openssh-server in it`;
    }
    return undefined;
  } catch (error) {
    if (error instanceof EngineError || error instanceof RunnerFailure) return error.message;
    throw error;
  }
}
