import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A Unix socket in front of another: what lies behind goes out of reach and comes back, and never notices. */
export interface SocketRelay {
  /** For DOCKER_HOST. */
  readonly dockerHost: string;
  /** Cuts every connection; new ones are refused. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  close(): Promise<void>;
}

export async function startSocketRelay(target: string): Promise<SocketRelay> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-relay-'));
  const path = join(folder, 'engine.sock');
  const open = new Set<Socket>();
  let server: Server | undefined;

  async function mend(): Promise<void> {
    const listening = createServer((near) => {
      const far = connect(target.replace('unix://', ''));
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(socket);
        socket.pipe(other);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          open.delete(socket);
          other.destroy();
        });
      }
    });
    server = listening;
    await new Promise<void>((done) => listening.listen(path, done));
  }

  async function cut(): Promise<void> {
    const closing = server;
    server = undefined;
    for (const socket of open) socket.destroy();
    if (closing) await new Promise((done) => closing.close(done));
  }

  await mend();
  return {
    dockerHost: `unix://${path}`,
    cut,
    mend,
    async close() {
      await cut();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
