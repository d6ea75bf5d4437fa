// A refresh of the offer book from the bytes that a market answers, beside JSON.parse of the same bytes, and what it does to requests meanwhile:
// npx tsx bench/refresh.ts [--offers 10000] [--rounds 5] [--seconds 3] [--connections 16] [--every 5]
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createOfferReader } from '../providers/vastai/offers.ts';
import { VASTAI } from '../providers/vastai/mapping.ts';
import { systemClock } from '../src/core/clock.ts';
import { HOUR_MS } from '../src/core/duration.ts';
import { createBreather, gently } from '../src/core/gently.ts';
import { offerSerialiser } from '../src/http/schemas/offer.ts';
import { createOfferBook, type OfferBook } from '../src/offers/offer-book.ts';
import { eachRowInPieces } from '../src/provider/rows-in-pieces.ts';
import { decimals, median, medianRatio, whole } from './support/figures.ts';
import { inventoryApp } from './support/inventory-app.ts';
import { assertAll, startLoadGenerator } from './support/load.ts';
import { describeMachine } from './support/machine.ts';
import { formatTable, type Row } from './support/table.ts';
import { vastBody } from './support/vast-body.ts';

const { values: settings } = parseArgs({
  options: {
    offers: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '16' },
    every: { type: 'string', default: '5' },
  },
});
const count = Number(settings.offers);
const rounds = Number(settings.rounds);
const QUERY = '/api/v1/inventory?min_vram=16&max_price=1&limit=50';

interface Stages {
  readonly read: number;
  readonly book: number;
  readonly longest: number;
}

function cpuMs(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
}

function aBook(): OfferBook {
  return createOfferBook({
    providers: [{ id: VASTAI, simulated: false, staleAfterMs: HOUR_MS }],
    serialise: offerSerialiser,
    clock: systemClock,
    epoch: 'bench',
  });
}

/** The product's breather, and what each slice of work between two rests took of the processor: whoever else runs does not count. */
function measuredBreather() {
  const breather = createBreather(systemClock);
  const slices: number[] = [];
  let since = process.cpuUsage();
  const end = () => void slices.push(cpuMs(since));
  return {
    rest() {
      const rest = breather.rest();
      if (!rest) return undefined;
      end();
      return rest.then(() => void (since = process.cpuUsage()));
    },
    longest() {
      end();
      return Math.max(...slices);
    },
    worked: () => slices.reduce((sum, ms) => sum + ms, 0) + cpuMs(since),
  };
}

/** Everything that happens between the last byte of an answer and the first page that shows it; CPU time by stage. */
async function refresh(book: OfferBook, body: string): Promise<Stages> {
  const breather = measuredBreather();
  const observedAt = systemClock.now();
  const reader = createOfferReader({}, { minReliability: 0, kind: 'on-demand', now: observedAt });
  await gently(eachRowInPieces(body, 'offers', reader.take), breather);
  const { offers, dropped } = reader.read();
  const read = breather.worked();
  await book.replaceGently(VASTAI, { offers, observedAt, dropped }, breather);
  const taken = breather.worked() - read;
  if (offers.length !== count) throw new Error(`${offers.length} offers were read of ${count}`);
  return { read, book: taken, longest: breather.longest() };
}

/** The same market at a tenth of most prices, so that a refresh finds hardly an offer as it was. */
function anotherMarket(body: string): string {
  return body.replaceAll('"dph_base":0.', '"dph_base":0.0');
}

async function measureWork(bodies: readonly string[]): Promise<readonly Row[]> {
  const book = aBook();
  const parses: number[] = [];
  const stages: Stages[] = [];
  const blocks: number[] = [];
  for (let round = -2; round < rounds; round += 1) {
    const body = bodies[Math.abs(round) % bodies.length] ?? '';
    globalThis.gc?.();
    const before = process.cpuUsage();
    const kept: unknown = JSON.parse(body);
    const parse = cpuMs(before);
    if (kept === null) throw new Error('unreadable');
    const stage = await refresh(book, body);
    if (round < 0) continue; // warming up
    parses.push(parse);
    stages.push(stage);
    blocks.push(stage.longest);
  }
  const totals = stages.map(({ read, book: taken }) => read + taken);
  const line = (name: string, values: readonly number[]) => [
    name,
    decimals(median(values), 0),
    decimals((median(values) * 1_000) / count, 1),
    decimals(medianRatio(values, parses)),
  ];
  console.log(
    `longest slice of work between two rests, CPU, each round: ${blocks.map((ms) => `${decimals(ms, 1)} ms`).join(', ')}\n`,
  );
  return [
    line('JSON.parse of the bytes, at one go', parses),
    line(
      'parsed, checked and normalised in pieces',
      stages.map(({ read }) => read),
    ),
    line(
      'indexed and serialised',
      stages.map(({ book: taken }) => taken),
    ),
    line('the whole refresh', totals),
  ];
}

interface Served {
  readonly perSecond: number;
  /** Of this process, which serves and refreshes: what others do on the machine does not count. */
  readonly perCpuSecond: number;
}

async function measureServing(bodies: readonly string[]): Promise<readonly Row[]> {
  const book = aBook();
  await refresh(book, bodies[0] ?? '');
  const app = await inventoryApp(book, { id: VASTAI, simulated: false });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const load = startLoadGenerator();
  const job = {
    url,
    connections: Number(settings.connections),
    seconds: Number(settings.seconds),
    requests: [{ method: 'GET', path: QUERY }],
  } as const;
  const [alone, during, always]: [Served[], Served[], Served[]] = [[], [], []];
  let refreshes = 0;

  /** Refreshes of the whole market, one begun every so often, or one after the other, until the load is over. */
  async function serve(everyMs?: number): Promise<Served> {
    let over = false;
    let worked = Number.NaN;
    const before = process.cpuUsage();
    const loaded = load.put(job).finally(() => {
      over = true;
      worked = cpuMs(before);
    });
    while (everyMs !== undefined && !over) {
      const begunMs = performance.now();
      await refresh(book, bodies[(refreshes += 1) % bodies.length] ?? '');
      while (!over && performance.now() - begunMs < everyMs) await delay(20);
    }
    const result = await loaded;
    assertAll(result, 200);
    return { perSecond: result.perSecond, perCpuSecond: (result.answers * 1_000) / worked };
  }
  try {
    for (let round = -1; round < rounds; round += 1) {
      const figures = [await serve(), await serve(Number(settings.every) * 1_000), await serve(0)];
      if (round < 0) continue;
      for (const [index, list] of [alone, during, always].entries()) list.push(...figures.slice(index, index + 1));
    }
  } finally {
    load.stop();
    await app.close();
  }
  const bySecond = (served: readonly Served[]) => served.map(({ perSecond }) => perSecond);
  const byCpu = (served: readonly Served[]) => served.map(({ perCpuSecond }) => perCpuSecond);
  const line = (name: string, served: readonly Served[]) => [
    name,
    whole(median(bySecond(served))),
    decimals(medianRatio(bySecond(served), bySecond(alone))),
    whole(median(byCpu(served))),
    decimals(medianRatio(byCpu(served), byCpu(alone))),
  ];
  return [
    line('nothing is refreshed', alone),
    line(`a refresh of ${whole(count)} offers every ${settings.every} s`, during),
    line('one refresh after the other, without a pause', always),
  ];
}

const first = vastBody(count);
const bodies = [first, anotherMarket(first)];
console.log(
  `Refresh of ${whole(count)} offers, ${decimals(first.length / 1e6, 1)} MB as Vast.ai writes them: ${rounds} rounds, median`,
);
console.log(`${describeMachine()}\n`);
console.log(`${formatTable(['what', 'CPU ms', 'µs an offer', 'of JSON.parse'], await measureWork(bodies))}\n`);
console.log(
  formatTable([`GET ${QUERY}`, 'a second', 'of alone', 'a CPU second', 'of alone by CPU'], await measureServing(bodies)),
);
console.log(`\nafterwards ${describeMachine()}`);
