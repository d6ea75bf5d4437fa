// Durable creates a second, POST /api/v1/sessions?wait=0, on the real broker process with the simulated market, beside bare SQLite
// commits on the same disk: npx tsx bench/creates.ts [--sessions 500] [--rounds 3] [--clients 8] [--profile FOLDER]
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { generateSshKeyPair } from '../src/core/openssh-key-pair.ts';
import { openBareCommits } from './support/bare-commits.ts';
import { describeProgram, startBroker } from './support/broker-process.ts';
import { topFunctions } from './support/cpu-profile.ts';
import { decimals, median, medianRatio, whole } from './support/figures.ts';
import { assertAll, startLoadGenerator } from './support/load.ts';
import type { LoadRequest, LoadResult } from './support/load-process.ts';
import { describeMachine } from './support/machine.ts';
import { listOfferIds } from './support/offer-ids.ts';
import { withScratch } from './support/scratch.ts';
import { formatTable } from './support/table.ts';

const { values: settings } = parseArgs({
  options: {
    sessions: { type: 'string', default: '500' },
    rounds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '8' },
    profile: { type: 'string' },
    /** Further settings of the broker, as NAME=value. */
    set: { type: 'string', multiple: true, default: [] },
  },
});
const sessions = Number(settings.sessions);
const rounds = Number(settings.rounds);
const BARE_MS = 1_000;

interface Measured extends LoadResult {
  /** What the broker's process worked for each create, provisioning of the sessions so far included. */
  readonly cpuMsEach: number;
}

function createRequest(offerId: string, sshPublicKey: string | undefined): LoadRequest {
  return {
    method: 'POST',
    path: '/api/v1/sessions?wait=0',
    headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    body: JSON.stringify({
      consumer_id: 'bench',
      offer_id: offerId,
      workload_type: 'ssh',
      reservation_hours: 1,
      ...(sshPublicKey === undefined ? {} : { ssh_public_key: sshPublicKey }),
    }),
  };
}

await withScratch(async (folder) => {
  const bare = openBareCommits(folder);
  // each round takes as many offers twice; the market has some spare, since it lists nothing that is held
  const environment = {
    PROVIDERS_SIMULATED_ENABLED: 'true',
    SIMULATED_OFFERS: String(Math.ceil(sessions * rounds * 2 * 1.2) + 1_000),
    SIMULATED_CREATE_SECONDS: '0.05',
    SIMULATED_BOOT_SECONDS: '600',
    ...Object.fromEntries(settings.set.map((pair) => pair.split('=', 2))),
  };
  console.log(
    `Creates: ${rounds} rounds of ${sessions} sessions each way, ${settings.clients} clients, median; ${describeProgram()}`,
  );
  console.log(`${describeMachine()}\n`);
  const broker = await startBroker({
    folder,
    environment,
    ...(settings.profile === undefined ? {} : { profileFolder: settings.profile }),
  });
  const load = startLoadGenerator();
  const key = generateSshKeyPair().publicKey;
  const runs: { readonly bare: number[]; readonly given: Measured[]; readonly made: Measured[] } = {
    bare: [],
    given: [],
    made: [],
  };
  try {
    /** Listed anew each time: what is held is not listed any more, and the market renames a few offers a minute. */
    const takeOffers = async () => {
      const free = await listOfferIds(broker.url);
      if (free.length < sessions) throw new Error('the simulated market has too few offers left');
      return free.slice(0, sessions);
    };
    const run = async (sshPublicKey: string | undefined) => {
      const requests = (await takeOffers()).map((id) => createRequest(id, sshPublicKey));
      const beforeMs = await broker.cpuMs();
      const result = await load.put({ url: broker.url, connections: Number(settings.clients), requests });
      assertAll(result, 201, { tolerated: 404 }); // an offer that was renamed since it was listed
      return { ...result, cpuMsEach: ((await broker.cpuMs()) - beforeMs) / result.answers };
    };
    for (let round = 0; round < rounds; round += 1) {
      runs.bare.push(bare.run(BARE_MS));
      runs.given.push(await run(key));
      runs.made.push(await run(undefined));
    }
  } finally {
    bare.close();
    load.stop();
    await broker.stop();
  }
  const row = (name: string, results: readonly Measured[]) => {
    const rates = results.map(({ perSecond }) => perSecond);
    return [
      name,
      whole(median(rates)),
      rates.map(whole).join(' '),
      decimals(median(results.map(({ p50Ms }) => p50Ms)), 1),
      decimals(median(results.map(({ p99Ms }) => p99Ms)), 1),
      decimals(median(results.map(({ cpuMsEach }) => cpuMsEach))),
      decimals(medianRatio(rates, runs.bare)),
    ];
  };
  console.log(
    formatTable(
      ['what', 'a second', 'each round', 'p50 ms', 'p99 ms', 'CPU ms each', 'of bare'],
      [
        ['bare SQLite, one insert a commit', whole(median(runs.bare)), runs.bare.map(whole).join(' '), '', '', '', '1.00'],
        row('create with ssh_public_key', runs.given),
        row('create with a generated key', runs.made),
      ],
    ),
  );
  console.log(`\nload afterwards: ${describeMachine().match(/load ([\d. ]+)/)?.[1] ?? ''}`);
  if (settings.profile !== undefined)
    console.log(`\n${formatTable(['function by its own time', 'of busy', 'ms'], await topFunctions(settings.profile, 40))}`);
});
