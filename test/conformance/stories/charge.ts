import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { createChargeReconciliationController } from '../../../src/controllers/charge-reconciliation.ts';
import type { Report } from '../../../src/controllers/controller.ts';
import { HOUR_MS, MINUTE_MS } from '../../../src/core/duration.ts';
import type { Charge } from '../../../src/provider/charge.ts';
import { recordingLog } from '../../support/log.ts';
import type { Story, StoryWorld } from './story.ts';

const PASSES = 8;

/** What the vendor itself says to have billed, which comes late, in parts and rounded. */
export const chargeStories: readonly Story[] = [
  {
    id: 'C27',
    title: 'costs what its vendor bills in the end, and nothing is lowered before that',
    troubles: ['bills late'],
    applies: ({ charges }) => charges !== undefined,
    async run(world) {
      world.market.trouble('bills late');
      const { session } = await world.rent({ reservationMinutes: 240 });
      await world.pass(80 * MINUTE_MS);
      const early = await charged(world, session.id);
      await world.broker.stop(session.id);
      const ended = await world.untilEnded(session.id);
      const consumersBill = async () =>
        (await world.broker.replica.costs.segmentsOf(session.id)).filter(({ payer }) => payer === 'attempt');
      const bill = await consumersBill();
      const reconciliation = reconciliationOf(world);

      let awaited = 0;
      for (let pass = 0; pass < PASSES && reconciliation.verdicts.length === 0; pass += 1) {
        await world.pass(HOUR_MS / 2);
        const { examined, changed } = await reconciliation.pass();
        awaited += examined - changed;
      }

      const late = await charged(world, session.id);
      if (early !== undefined && late !== undefined) assert.ok(early <= late, `${late} after ${early}: charges only grow`);
      const { verdicts } = reconciliation;
      world.sure(awaited > 0, 'a part of the bill should be no verdict');
      world.sure(verdicts.length > 0, 'there should be a verdict within four hours');
      assert.deepEqual(
        verdicts.filter((verdict) => verdict !== 'matches'),
        [],
        'what was billed is not what the session has cost',
      );
      // where lists lag, what is shown again after its end is on the operator's bill for a moment
      const isSame = isDeepStrictEqual(await consumersBill(), bill);
      world.sure(isSame, 'the bill was changed');
      const after = await world.broker.record(session.id);
      const caps = ({ attempts }: typeof after) => attempts.map(({ capMicrosPerHour }) => capMicrosPerHour);
      assert.deepEqual(caps(after), caps(ended), 'a cap was changed');
    },
  },
];

/** The product's own controller, beside those of the broker. */
function reconciliationOf(world: StoryWorld) {
  const { clock, market, broker } = world;
  const verdicts: string[] = [];
  const controller = createChargeReconciliationController({
    sessions: broker.replica.sessions,
    costs: broker.replica.costs,
    providers: new Map([[market.provider.id, market.provider]]),
    clock,
    log: recordingLog(),
    metrics: { chargeReconciled: (_provider, result) => void verdicts.push(result) },
    settings: { periodMs: HOUR_MS, callTimeoutMs: MINUTE_MS },
  });
  return { verdicts, pass: (): Promise<Report> => whileTimePasses(world, controller.reconcile({ signal: NEVER })) };
}

const NEVER = new AbortController().signal;

/** Micro-dollars that the vendor has billed for the session so far; undefined where it did not answer. */
async function charged(world: StoryWorld, id: string): Promise<number | undefined> {
  const { provider } = world.market;
  const query = { from: world.clock.now() - 24 * HOUR_MS, until: world.clock.now() };
  const asked = provider.charges?.call(provider, query, { signal: world.clock.timeoutSignal(MINUTE_MS) });
  const told = await whileTimePasses(world, asked?.catch(() => undefined) ?? Promise.resolve(undefined));
  const isOf = ({ tag }: Charge) => tag?.includes(id.slice('ses_'.length)) === true;
  return told?.charges.filter(isOf).reduce((sum, { amountMicros }) => sum + amountMicros, 0);
}

/** The vendor takes its time to answer, which only the broker's world can let pass. */
async function whileTimePasses<Result>({ broker, market }: StoryWorld, work: Promise<Result>): Promise<Result> {
  let isPending = true;
  const done = market.traffic.during(() => work).finally(() => (isPending = false));
  await broker.run({ until: () => !isPending, withinMs: 10 * MINUTE_MS });
  return done;
}
