import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('docker-engine.sh', import.meta.url));
const MAKE_IMAGE = fileURLToPath(new URL('../../scripts/make-image.sh', import.meta.url));

export interface TestEngine {
  /** For DOCKER_HOST: `unix://…/docker.sock`. */
  readonly dockerHost: string;
  readonly folder: string;
  /** Ends the engine alone; its containers end with it and its data stays. */
  pause(): Promise<void>;
  /** Brings a paused engine back, at the same socket. */
  resume(): Promise<void>;
  /** Ends the engine and takes away everything it made. May be called twice. */
  stop(): Promise<void>;
}

/** A private Docker engine: needs root and `dockerd`. Takes about a second. Whoever starts it stops it. */
export async function startDockerEngine(): Promise<TestEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-docker-'));
  try {
    const { stdout } = await run('bash', [SCRIPT, 'start', folder], { timeout: 60_000 });
    const dockerHost = stdout.trim();
    return {
      dockerHost,
      folder,
      pause: async () => {
        const pid = (await run('cat', [join(folder, 'pid')])).stdout.trim();
        await run('bash', [
          '-c',
          'kill -TERM "$1"; for i in $(seq 200); do kill -0 "$1" 2>/dev/null || exit 0; sleep 0.1; done; exit 1',
          'pause',
          pid,
        ]);
      },
      resume: async () => {
        await run('bash', [SCRIPT, 'start', folder], { timeout: 60_000 });
      },
      stop: async () => {
        await run('bash', [SCRIPT, 'stop', folder], { timeout: 60_000 });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined); // the first error is the one to be seen
    throw error;
  }
}

/** The product's own image, from this machine's programs: the same script that people run. Returns its name. */
export async function makeTestImage(dockerHost: string, name = 'berth-ssh'): Promise<string> {
  await run('bash', [MAKE_IMAGE, name, '--host'], { env: { ...process.env, DOCKER_HOST: dockerHost }, timeout: 120_000 });
  return name;
}

/** An image that ends at once with a line on stderr, or has no SSH server: for what goes wrong. */
export async function makeBrokenImage(
  dockerHost: string,
  from: { name: string; base: string; command: readonly string[]; without?: string },
): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: dockerHost };
  const { stdout } = await run('docker', ['create', from.base, 'true'], { env });
  const id = stdout.trim();
  const script = `docker export "$1" | { if [ -n "$4" ]; then tar --delete -f - "$4"; else cat; fi; } | docker import --change "CMD $3" - "$2"`;
  await run('bash', ['-o', 'pipefail', '-c', script, 'make', id, from.name, JSON.stringify(from.command), from.without ?? ''], {
    env,
  });
  await run('docker', ['rm', '-f', id], { env });
  return from.name;
}
