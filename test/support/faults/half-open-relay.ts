import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP port in front of another. */
export interface HalfOpenRelay {
  readonly port: number;
  /** From now on the connections that there are carry nothing, either way, and none is closed; new ones are as before. */
  silence(): number;
  close(): Promise<void>;
}

/** As a firewall that has forgotten its connections: both ends hold theirs to be open, and wait. */
export async function startHalfOpenRelay(target: number): Promise<HalfOpenRelay> {
  const open = new Set<Socket>();
  const silent = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.on('data', (bytes) => {
        if (!silent.has(socket)) other.write(bytes);
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        if (!silent.has(socket)) other.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, // it listens on TCP
    silence() {
      for (const socket of open) silent.add(socket);
      return open.size / 2;
    },
    async close() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
