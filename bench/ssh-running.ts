// From the moment that an instance's sshd accepts to `running` in the API: npx tsx bench/ssh-running.ts [--sessions 40] [--at-once 8]
// On the simulated market, whose machines are SSH servers in the broker's own process, and on local Docker with the real sshd where
// this machine has an engine of its own to start (root and dockerd). nvidia-smi's own time is not in it: the simulated one answers at
// once, and the containers have none.
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { generateSshKeyPair } from '../src/core/openssh-key-pair.ts';
import { makeTestImage, startDockerEngine } from '../test/support/docker-engine.ts';
import { createSession, deleteSession, eventAt, untilStatus } from './support/api.ts';
import { describeProgram, startBroker, type BrokerProcess } from './support/broker-process.ts';
import { decimals, median, quantile, whole } from './support/figures.ts';
import { firstBanner } from './support/first-banner.ts';
import { describeMachine } from './support/machine.ts';
import { listOfferIds } from './support/offer-ids.ts';
import { withPublishedPorts } from './support/published-ports.ts';
import { withScratch } from './support/scratch.ts';
import { formatTable, type Row } from './support/table.ts';

const { values: settings } = parseArgs({
  options: {
    sessions: { type: 'string', default: '40' },
    'at-once': { type: 'string', default: '8' },
    boots: { type: 'string', default: '1,6' },
  },
});
const total = Number(settings.sessions);
const atOnce = Number(settings['at-once']);
const FIRST_PORT = 28_200;
const sshPublicKey = generateSshKeyPair().publicKey;

/** Rents one, waits until it runs, ends it. Gives the milliseconds between its sshd's first word and `running`. */
async function rentOnce(
  broker: BrokerProcess,
  offerId: string,
  acceptedAt: (port: number) => Promise<number>,
): Promise<number> {
  const id = await createSession(broker.url, { offerId, sshPublicKey });
  const { ssh_port: port } = await untilStatus(broker.url, id, 'running');
  const took = (await eventAt(broker.url, id, 'session.running')) - (await acceptedAt(port ?? 0));
  await deleteSession(broker.url, id);
  return took;
}

function rowOf(name: string, figures: readonly number[]): Row {
  return [
    name,
    whole(figures.length),
    whole(median(figures)),
    whole(quantile(figures, 0.99)),
    decimals(500 / quantile(figures, 0.99)),
  ];
}

/** Batches, since the ports to be watched are few: as many as run at once. */
async function onSimulated(bootSeconds: number): Promise<Row> {
  return withScratch(async (folder) => {
    const broker = await startBroker({
      folder,
      environment: {
        SIMULATED_OFFERS: '200',
        SIMULATED_CREATE_SECONDS: '0',
        SIMULATED_BOOT_SECONDS: String(bootSeconds),
        SIMULATED_DESTROY_SECONDS: '0',
        SIMULATED_PORTS: `${FIRST_PORT}-${FIRST_PORT + atOnce - 1}`,
      },
    });
    const figures: number[] = [];
    try {
      const batches = Math.max(1, Math.round(total / atOnce / (bootSeconds > 2 ? 2 : 1)));
      for (let batch = 0; batch < batches; batch += 1) {
        const offers = (await listOfferIds(broker.url)).slice(0, atOnce);
        const watching = new AbortController();
        const moments = Array.from({ length: atOnce }, (_, index) => firstBanner(FIRST_PORT + index, watching.signal));
        for (const moment of moments) moment.catch(() => {}); // a session that failed says it better
        const acceptedAt = (port: number) =>
          moments[port - FIRST_PORT] ?? Promise.reject(new Error(`port ${port} was not watched`));
        try {
          figures.push(...(await Promise.all(offers.map((offerId) => rentOnce(broker, offerId, acceptedAt)))));
        } finally {
          watching.abort();
        }
      }
    } finally {
      await broker.stop();
    }
    return rowOf(`simulated, ${atOnce} at once, boot of ${bootSeconds} s`, figures);
  });
}

/** A slot of the pool gets another id after each session. */
async function newOffer(url: string, used: ReadonlySet<string>): Promise<string> {
  for (let tries = 0; tries < 300; tries += 1) {
    const offerId = (await listOfferIds(url, 'provider=pool')).find((id) => !used.has(id));
    if (offerId !== undefined) return offerId;
    await delay(200);
  }
  throw new Error('the pool offers nothing new');
}

async function onDocker(): Promise<Row> {
  const engine = await startDockerEngine();
  try {
    const image = await makeTestImage(engine.dockerHost);
    return await withScratch((folder) =>
      withPublishedPorts(engine.dockerHost, async (acceptedAt) => {
        const broker = await startBroker({
          folder,
          environment: {
            POOL_IMAGE: image,
            DOCKER_HOST: engine.dockerHost,
            PROVIDERS_POOL_ENABLED: 'true',
            POOL_MAX_SESSIONS: '1',
          },
        });
        const figures: number[] = [];
        const used = new Set<string>();
        try {
          for (let count = 0; count < Math.min(6, total); count += 1) {
            const offerId = await newOffer(broker.url, used);
            used.add(offerId);
            figures.push(await rentOnce(broker, offerId, acceptedAt));
          }
        } finally {
          await broker.stop();
        }
        return rowOf('container with its sshd, one after the other', figures);
      }),
    );
  } finally {
    await engine.stop();
  }
}

console.log(`From sshd accepting to running: ${describeProgram()}\n${describeMachine()}\n`);
const rows: Row[] = [];
for (const boot of settings.boots.split(',')) rows.push(await onSimulated(Number(boot)));
const hasEngine =
  process.getuid?.() === 0 &&
  existsSync('/usr/sbin/sshd') &&
  ['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((folder) => existsSync(`${folder}/dockerd`));
if (hasEngine) rows.push(await onDocker());
else console.log('no container: that takes root, dockerd and sshd\n');
console.log(formatTable(['where', 'sessions', 'p50 ms', 'p99 ms', '500 ms of p99'], rows));
console.log(`\nafterwards ${describeMachine()}`);
