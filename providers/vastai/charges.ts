import type { Clock } from '../../src/core/clock.ts';
import { DAY_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { fromUsd } from '../../src/core/money.ts';
import { plainLine } from '../../src/core/text.ts';
import type { Charge, ChargeListing, ChargeQuery } from '../../src/provider/charge.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { parseLenientList } from '../../src/provider/lenient-list.ts';
import type { CallOptions } from '../../src/provider/provider.ts';
import { refused, type VastClient } from './client.ts';
import { failure } from './mapping.ts';
import { ChargeRow, ChargesPage, SuccessAnswer } from './schema.ts';

const OPERATION = 'ListCharges';
/** Far more instances and days than anybody asks about at once; a list that does not end is no list. */
const MOST_PAGES = 200;
/** They round dollars to three decimals: the whole, and each part of it. */
const ROUNDING_MICROS = 1_000;
/** More for one instance and day is a mistake. */
const MOST_USD = 1_000_000;
const OF_INSTANCE = /^instance-([1-9]\d{0,15})$/;
const TRAFFIC: ReadonlySet<string> = new Set(['bwd', 'bwu']);

interface ChargesDeps {
  readonly client: Pick<VastClient, 'listCharges'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
}

/** What they have billed: a row for each instance and day, ten to sixty minutes late. Every page, or a throw. */
export async function readCharges(
  { from, until }: ChargeQuery,
  { client, clock, log }: ChargesDeps,
  { signal }: CallOptions,
): Promise<ChargeListing> {
  const observedAt = clock.now();
  const days = { gte: Math.floor(from / DAY_MS) * (DAY_MS / SECOND_MS), lte: Math.ceil(until / SECOND_MS) };
  const charges = new Map<string, Charge>();
  const cursors = new Set<string>();
  let dropped = 0;
  for (let cursor: string | undefined; ;) {
    const answer = await client.listCharges(days, cursor, { operation: OPERATION, signal });
    const page = ChargesPage.safeParse(answer.json);
    const success = SuccessAnswer.safeParse(answer.json);
    const isOk = answer.status >= 200 && answer.status < 300 && success.data?.success !== false;
    if (!isOk || !page.success) throw refused(answer, { operation: OPERATION, endpoint: 'charges', otherwise: 'protocol' });
    const read = parseLenientList(page.data.results, ChargeRow);
    dropped += read.dropped;
    for (const row of read.rows) {
      if (row.type !== 'instance') continue;
      const charge = toCharge(row);
      if (charge === undefined) dropped += 1;
      // rows move on while the pages are turned: of one that came twice the later page has the older figures
      else if (!charges.has(keyOf(charge))) charges.set(keyOf(charge), charge);
    }
    cursor = page.data.next_token ?? '';
    if (cursor === '') break;
    if (cursors.has(cursor) || cursors.size >= MOST_PAGES) {
      throw failure({ operation: OPERATION, kind: 'protocol', why: 'the list does not end' });
    }
    cursors.add(cursor);
  }
  if (dropped > 0) log.debug({ dropped }, 'vast.ai charges that could not be read');
  return { charges: [...charges.values()], observedAt, dropped, roundingMicros: ROUNDING_MICROS };
}

function toCharge({ source, amount, start, end, items, metadata }: ChargeRow): Charge | undefined {
  const [, id] = OF_INSTANCE.exec(source ?? '') ?? [];
  if (id === undefined || start === undefined || end === undefined || end < start) return undefined;
  if (amount === undefined || amount < 0 || amount > MOST_USD) return undefined;
  const traffic = (items ?? []).flatMap(({ type, amount: part = 0 }) => (TRAFFIC.has(type ?? '') ? [part] : []));
  const transferUsd = Math.min(
    amount,
    Math.max(
      0,
      traffic.reduce((sum, part) => sum + part, 0),
    ),
  );
  const tag = plainLine(metadata?.label ?? '', 256);
  return {
    instanceId: instanceId(id),
    ...(tag !== '' && { tag }),
    from: Math.round(start * SECOND_MS),
    until: Math.round(end * SECOND_MS),
    amountMicros: fromUsd(amount),
    transferMicros: fromUsd(transferUsd),
  };
}

function keyOf({ instanceId: id, from }: Charge): string {
  return `${id} ${from}`;
}
