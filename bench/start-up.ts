// From the start of the process to /ready, with an empty database and with 10,000 ended sessions in it; and memory, also with 1,000
// running sessions: npx tsx bench/start-up.ts [--stored 10000] [--running 1000] [--rounds 3]
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { generateSshKeyPair } from '../src/core/openssh-key-pair.ts';
import { countSessions, createSession } from './support/api.ts';
import { describeProgram, startBroker } from './support/broker-process.ts';
import { storeEndedSessions } from './support/ended-sessions.ts';
import { decimals, median, medianRatio, whole } from './support/figures.ts';
import { describeMachine } from './support/machine.ts';
import { listOfferIds } from './support/offer-ids.ts';
import { withScratch } from './support/scratch.ts';
import { formatTable, type Row } from './support/table.ts';

const { values: settings } = parseArgs({
  options: {
    stored: { type: 'string', default: '10000' },
    running: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
  },
});
const rounds = Number(settings.rounds);
const running = Number(settings.running);

interface Start {
  readonly readyMs: number;
  readonly cpuMs: number;
  readonly mib: number;
}

async function start(folder: string, environment: Readonly<Record<string, string>> = {}): Promise<Start> {
  const broker = await startBroker({ folder, environment });
  try {
    const cpuMs = await broker.cpuMs();
    await delay(500); // the first passes of the controllers are behind it
    return { readyMs: broker.readyMs, cpuMs, mib: await broker.residentMib() };
  } finally {
    await broker.stop();
  }
}

function rowOf(name: string, starts: readonly Start[], comparison: readonly Start[]): Row {
  const of = (read: (each: Start) => number) => starts.map(read);
  return [
    name,
    whole(median(of(({ readyMs }) => readyMs))),
    whole(median(of(({ cpuMs }) => cpuMs))),
    whole(median(of(({ mib }) => mib))),
    decimals(
      medianRatio(
        of(({ cpuMs }) => cpuMs),
        comparison.map(({ cpuMs }) => cpuMs),
      ),
    ),
  ];
}

const MANY_RUNNING = {
  SIMULATED_OFFERS: String(running * 2 + 100),
  SIMULATED_CREATE_SECONDS: '0',
  SIMULATED_BOOT_SECONDS: '0',
  SIMULATED_PORTS: '30000-39999',
};

/** Lets a broker run so many sessions, eight requests at a time; then it is stopped, and the sessions go on. */
async function runMany(folder: string): Promise<{ readonly mib: number; readonly seconds: number }> {
  const broker = await startBroker({ folder, environment: MANY_RUNNING });
  try {
    const startedMs = performance.now();
    const offers = (await listOfferIds(broker.url)).slice(0, running);
    const sshPublicKey = generateSshKeyPair().publicKey;
    const take = async () => {
      for (let offerId = offers.pop(); offerId !== undefined; offerId = offers.pop())
        await createSession(broker.url, { offerId, sshPublicKey });
    };
    await Promise.all(Array.from({ length: 8 }, take));
    while ((await countSessions(broker.url, 'running')) < running) {
      if (performance.now() - startedMs > 120_000) throw new Error(`not all of ${running} sessions run after two minutes`);
      await delay(250);
    }
    const seconds = (performance.now() - startedMs) / 1_000;
    await delay(1_000);
    return { mib: await broker.residentMib(), seconds };
  } finally {
    await broker.stop();
  }
}

await withScratch(async (folder) => {
  const [empty, full, many] = ['empty', 'full', 'many'].map((name) => join(folder, name)) as [string, string, string]; // one for each name
  await Promise.all([empty, full, many].map((each) => mkdir(each)));
  console.log(`Start-up: ${rounds} rounds, median; ${describeProgram()}\n${describeMachine()}\n`);
  await start(empty); // the first start makes the database
  const startedMs = performance.now();
  await storeEndedSessions(join(full, 'berth.db'), Number(settings.stored));
  console.log(`${settings.stored} ended sessions stored in ${decimals((performance.now() - startedMs) / 1_000, 1)} s`);
  const starts: { readonly empty: Start[]; readonly full: Start[]; readonly many: Start[] } = { empty: [], full: [], many: [] };
  for (let round = 0; round < rounds; round += 1) {
    starts.empty.push(await start(empty));
    starts.full.push(await start(full));
  }
  const grown = await runMany(many);
  console.log(`${running} sessions created and running in ${decimals(grown.seconds, 1)} s; then ${whole(grown.mib)} MiB\n`);
  starts.many.push(await start(many, MANY_RUNNING));
  console.log(
    formatTable(
      ['database', 'ready ms', 'CPU ms', 'MiB after', 'CPU of empty'],
      [
        rowOf('no session', starts.empty, starts.empty),
        rowOf(`${settings.stored} ended sessions`, starts.full, starts.empty),
        rowOf(`${running} running sessions, started again`, starts.many, starts.empty),
      ],
    ),
  );
  console.log(`\nafterwards ${describeMachine()}`);
});
