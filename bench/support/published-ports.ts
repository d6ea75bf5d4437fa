import Docker from 'dockerode';
import { firstBanner } from './first-banner.ts';

/**
 * Watches an engine for the length of `use`: as soon as a container starts, each port that it publishes is asked for its SSH server's
 * first word. The engine listens there before the server does, so an open port alone says nothing.
 */
export async function withPublishedPorts<Result>(
  dockerHost: string,
  use: (acceptedAt: (port: number) => Promise<number>) => Promise<Result>,
): Promise<Result> {
  const docker = new Docker({ socketPath: dockerHost.replace(/^unix:\/\//, '') });
  const watching = new AbortController();
  const moments = new Map<number, Promise<number>>();
  const stream = await docker.getEvents({ filters: { type: ['container'], event: ['start'] } });
  stream.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().split('\n').filter(Boolean)) {
      const { Actor } = JSON.parse(line) as { Actor: { ID: string } }; // the engine's own shape
      void watch(Actor.ID);
    }
  });

  async function watch(id: string): Promise<void> {
    const { NetworkSettings } = await docker.getContainer(id).inspect();
    for (const bindings of Object.values(NetworkSettings.Ports))
      for (const { HostPort } of (bindings as { HostPort: string }[] | null) ?? []) {
        const moment = firstBanner(Number(HostPort), watching.signal);
        moment.catch(() => {}); // whoever asks for it hears of it
        moments.set(Number(HostPort), moment);
      }
  }

  try {
    return await use((port) => moments.get(port) ?? Promise.reject(new Error(`port ${port} was not seen to be published`)));
  } finally {
    watching.abort();
    (stream as unknown as { destroy(): void }).destroy(); // an IncomingMessage, which dockerode types as less
  }
}
