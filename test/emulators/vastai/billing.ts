import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { bodyOf, ok, queryJson, refusal } from './context.ts';
import type { Context } from './context.ts';
import type { LedgerAccount } from './ledger.ts';
import { aliveContract } from './world.ts';
import type { PriceRise, World } from './world.ts';

const DAY_MS = 86_400_000;

export function currentUser({ world }: Context): Reply {
  const { keys, userId } = world.account;
  return ok({
    id: userId,
    email: 'ops@example.org',
    credit: Math.round(world.account.credit() * 10_000) / 10_000,
    balance: 0,
    billed_expected: 0,
    has_billing: true,
    ssh_key: keys[0]?.publicKey ?? null,
  });
}

const Filters = z.object({ day: z.object({ gte: z.number(), lte: z.number() }) });

/** `GET charges/`: one row an instance and day, late, rounded; it survives the instance. */
export function charges(context: Context): Reply {
  const { world, call } = context;
  const filters = Filters.safeParse(queryJson(context, 'select_filters'));
  if (!filters.success)
    return { status: 400, json: { success: false, msg: "Must provide both 'day' gte and lte filters for instance charges" } };
  const { gte, lte } = filters.data.day;
  const rows = world.ledger.accounts().flatMap((account) => chargeRows(world, account, gte, lte));
  rows.sort((left, right) => right.start - left.start);
  if (call.query.get('latest_first') !== 'true') rows.reverse();
  const limit = Math.min(500, Math.max(1, Number(call.query.get('limit') ?? 100) || 100));
  const from = Number(Buffer.from(call.query.get('after_token') ?? '', 'base64').toString('utf8') || 0);
  if (!Number.isInteger(from) || from < 0) return refusal(400, 'invalid_token', 'Invalid pagination token');
  const page = rows.slice(from, from + limit);
  const next = from + limit < rows.length ? Buffer.from(String(from + limit)).toString('base64') : null;
  return ok({ success: true, count: page.length, total: rows.length, next_token: next, results: page });
}

function chargeRows(world: World, account: LedgerAccount, gteSeconds: number, lteSeconds: number) {
  const shownUntil = Math.min(account.closedAt ?? Infinity, world.now() - world.knobs.chargesLagMs);
  const rows: ReturnType<typeof chargeRow>[] = [];
  for (let day = Math.floor(account.openedAt / DAY_MS) * DAY_MS; day < shownUntil; day += DAY_MS) {
    if (day / 1_000 < Math.floor(gteSeconds / 86_400) * 86_400 || day / 1_000 > lteSeconds) continue;
    const fromAt = Math.max(day, account.openedAt);
    if (fromAt >= shownUntil) continue;
    rows.push(chargeRow(world, account, fromAt, Math.min(day + DAY_MS, shownUntil)));
  }
  return rows;
}

function chargeRow(world: World, account: LedgerAccount, fromAt: number, toAt: number) {
  const spent = world.ledger.spent(account.contractId, fromAt, toAt);
  const start = Math.floor(fromAt / 1_000);
  const end = Math.floor(toAt / 1_000);
  const hours = ((end - start) / 3_600).toFixed(3);
  const item = (type: string, usd: number, description: string) => {
    return { start, end, type, source: null, description, amount: round3(usd), metadata: {}, items: [] };
  };
  return {
    start,
    end,
    type: 'instance',
    source: `instance-${account.contractId}`,
    description: `Instance ${account.contractId} Charges - 1 day`,
    amount: round3(spent.totalUsd),
    metadata: { label: account.label },
    items: [
      item('gpu', spent.gpuUsd, `${hours} hours`),
      item('disk', spent.diskUsd, `${hours} hours`),
      item('bwd', spent.bandwidthUsd, 'download'),
    ],
  };
}

function round3(usd: number): number {
  return Math.round(usd * 1_000) / 1_000;
}

/** A range that cannot be read is refused with 200. */
export function invoices(context: Context): Reply {
  const filters = queryJson(context, 'select_filters');
  const parsed = z.object({ when: z.record(z.string(), z.number()) }).safeParse(filters ?? { when: {} });
  if (!parsed.success) return ok({ success: false, msg: "Invalid 'when' range" });
  const start = Math.floor(context.world.now() / 1_000) - 86_400;
  const row = {
    start,
    end: start,
    type: 'payment',
    source: 'card',
    description: 'Card payment',
    amount: -50,
    metadata: { invoice_id: 455_120 },
    items: [],
  };
  return ok({ success: true, count: 1, total: 1, next_token: null, results: [row] });
}

export function balanceOf({ world, params }: Context): Reply {
  if (aliveContract(world, Number(params[0])) === undefined) return refusal(404, 'no_such_instance', 'No such instance.');
  return ok({ refundable_deposit: 0, total_discount: 0, discount_months: 0 });
}

export function prepay(context: Context): Reply {
  const amount = bodyOf(context)?.['amount'];
  if (typeof amount !== 'number' || amount > context.world.account.credit())
    return { status: 411, json: { success: false, msg: 'Insufficient credit' } };
  return ok({ success: true, timescale: 0.9, discount_rate: 0.31 });
}

/** Rates are per second, unlike everywhere else. */
export function priceRises({ world }: Context): Reply {
  const rows = world.priceRises.flatMap((rise) => {
    const contract = aliveContract(world, rise.contractId);
    return contract === undefined ? [] : [riseRow(rise, contract)];
  });
  return ok({ success: true, count: rows.length, truncated: false, pending_price_increases: rows });
}

function riseRow(rise: PriceRise, contract: NonNullable<ReturnType<typeof aliveContract>>) {
  const gpu = contract.gpuPerHour / 3_600;
  const disk = (contract.diskGb * contract.machine.storageCost) / 720 / 3_600;
  const { upCost, downCost } = contract.machine.inet;
  return {
    pending_price_increase_id: rise.id,
    contract_id: contract.id,
    host_id: contract.machine.hostId,
    old_gpu_costpersec: gpu,
    new_gpu_costpersec: gpu * rise.factor,
    old_disk_ram_costpersec: disk,
    new_disk_ram_costpersec: disk,
    old_bwu_cost: upCost,
    new_bwu_cost: upCost,
    old_bwd_cost: downCost,
    new_bwd_cost: downCost,
    old_platform_fee: null,
    new_platform_fee: null,
    contract_end_date: contract.machine.endAt / 1_000,
    ask_end_date: contract.machine.endAt / 1_000 + 2_000_000,
    created_at: rise.createdAt / 1_000,
  };
}

export function answerPriceRise(how: 'accept' | 'reject'): (context: Context) => Reply {
  return (context) => {
    const body = bodyOf(context) ?? {};
    const strange = Object.keys(body).find((key) => key !== 'pending_price_increase_id');
    if (strange !== undefined) return refusal(400, 'invalid_args', `${strange} is not expected`);
    const { world } = context;
    const index = world.priceRises.findIndex(({ id }) => id === body['pending_price_increase_id']);
    const [rise] = index < 0 ? [] : world.priceRises.splice(index, 1);
    const contract = rise && aliveContract(world, rise.contractId);
    if (rise === undefined || contract === undefined) return refusal(404, 'no_pending_price_increase');
    if (how === 'accept') contract.gpuPerHour *= rise.factor;
    return ok({ success: true, pending_price_increase_id: rise.id, contract_id: contract.id });
  };
}
