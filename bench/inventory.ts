// Inventory queries through the real HTTP app, beside a bare Fastify route that sends the same bytes from the same process:
// npx tsx bench/inventory.ts [--sizes 1000,10000,100000] [--rounds 3] [--seconds 1] [--connections 16]
import { parseArgs } from 'node:util';
import Fastify, { type FastifyInstance } from 'fastify';
import { systemClock } from '../src/core/clock.ts';
import { MINUTE_MS } from '../src/core/duration.ts';
import { offerSerialiser } from '../src/http/schemas/offer.ts';
import { createOfferBook, type OfferBook } from '../src/offers/offer-book.ts';
import { decimals, median, medianRatio, whole } from './support/figures.ts';
import { inventoryApp } from './support/inventory-app.ts';
import { assertAll, startLoadGenerator, type LoadGenerator } from './support/load.ts';
import type { LoadRequest, LoadResult } from './support/load-process.ts';
import { describeMachine } from './support/machine.ts';
import { seededOffers, SIMULATED } from './support/market.ts';
import { formatTable, type Row } from './support/table.ts';

const { values: settings } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,100000' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1' },
    connections: { type: 'string', default: '16' },
  },
});
const rounds = Number(settings.rounds);
const seconds = Number(settings.seconds);
const QUERY = '/api/v1/inventory?min_vram=16&max_price=1&limit=50';
/** More than the book keeps pages of, so that none of these is found again. */
const VARIATIONS = 2_000;

interface Measured extends LoadResult {
  /** What this process, which is the server, worked for each answer. */
  readonly cpuMicros: number;
}

function bookOf(size: number): OfferBook {
  const book = createOfferBook({
    providers: [{ id: SIMULATED, simulated: true, staleAfterMs: 10 * MINUTE_MS }],
    serialise: offerSerialiser,
    clock: systemClock,
    epoch: 'bench',
  });
  book.replace(SIMULATED, { offers: seededOffers(size), observedAt: systemClock.now(), dropped: 0 });
  return book;
}

async function bareServer(body: Buffer): Promise<FastifyInstance> {
  const app = Fastify();
  app.get('/api/v1/inventory', (_request, reply) => void reply.type('application/json; charset=utf-8').send(body));
  await app.ready();
  return app;
}

/** Each asks for another price, none for one that leaves fewer offers than a page. */
function variedQueries(): LoadRequest[] {
  return Array.from({ length: VARIATIONS }, (_, index) => ({
    method: 'GET',
    path: `/api/v1/inventory?min_vram=16&max_price=${(0.9 + index * 0.00005).toFixed(5)}&limit=50`,
  }));
}

async function measure(size: number, load: LoadGenerator): Promise<readonly Row[]> {
  const book = bookOf(size);
  const app = await inventoryApp(book, { id: SIMULATED, simulated: true });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const first = await fetch(url + QUERY);
  const body = Buffer.from(await first.arrayBuffer());
  const etag = first.headers.get('etag');
  if (first.status !== 200 || etag === null) throw new Error(`the inventory answered ${first.status} with the ETag ${etag}`);
  const bare = await bareServer(body);
  const bareUrl = await bare.listen({ host: '127.0.0.1', port: 0 });

  const same: LoadRequest = { method: 'GET', path: QUERY };
  const subjects = [
    { name: 'bare Fastify, the same bytes', url: bareUrl, requests: [same], status: 200 },
    { name: 'one query', url, requests: [same], status: 200 },
    { name: 'every query another', url, requests: variedQueries(), status: 200 },
    { name: 'one query with its ETag: 304', url, requests: [{ ...same, headers: { 'if-none-match': etag } }], status: 304 },
  ] as const;
  const results = subjects.map((): Measured[] => []);
  try {
    // the first round warms up and does not count
    for (let round = -1; round < rounds; round += 1) {
      for (const [index, subject] of subjects.entries()) {
        const before = process.cpuUsage();
        const result = await load.put({ ...subject, connections: Number(settings.connections), seconds });
        const { user, system } = process.cpuUsage(before);
        assertAll(result, subject.status);
        if (round >= 0) results[index]?.push({ ...result, cpuMicros: (user + system) / result.answers });
      }
    }
  } finally {
    await Promise.all([app.close(), bare.close()]);
  }
  const micros = results.map((each) => each.map(({ cpuMicros }) => cpuMicros));
  const rates = results.map((each) => each.map(({ perSecond }) => perSecond));
  return subjects.map(({ name }, index) => {
    const each = results[index] ?? [];
    return [
      `${whole(size)} offers: ${name}`,
      whole(median(rates[index] ?? [])),
      decimals(median(each.map(({ p50Ms }) => p50Ms)), 1),
      decimals(median(each.map(({ p99Ms }) => p99Ms)), 1),
      whole(median(each.map(({ bytes }) => bytes))),
      decimals(medianRatio(rates[index] ?? [], rates[0] ?? [])),
      whole(median(micros[index] ?? [])),
      decimals(medianRatio(micros[0] ?? [], micros[index] ?? [])),
    ];
  });
}

console.log(`Inventory, GET ${QUERY}: ${rounds} rounds of ${settings.seconds} s, ${settings.connections} connections, median`);
console.log(`${describeMachine()}\n`);
const rows: Row[] = [];
const load = startLoadGenerator();
for (const size of settings.sizes.split(',').map(Number)) rows.push(...(await measure(size, load)));
load.stop();
console.log(formatTable(['what', 'a second', 'p50 ms', 'p99 ms', 'bytes', 'of bare', 'CPU µs each', 'of bare by CPU'], rows));
console.log(`\nbytes are with headers; afterwards ${describeMachine()}`);
