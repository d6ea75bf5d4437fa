import { seededRandom } from '../../src/core/random.ts';
import { systemClock } from '../../src/core/clock.ts';
import { createMarket } from '../../test/emulators/vastai/market.ts';
import { offerRow } from '../../test/emulators/vastai/offer-row.ts';
import type { World } from '../../test/emulators/vastai/world.ts';

/** What Vast.ai would answer to a search that brings so many offers, byte for byte as the emulator writes it. */
export function vastBody(count: number): string {
  const now = systemClock.now();
  const market = createMarket({ random: seededRandom(1), offers: count * 3, now });
  const world = {
    now: () => now,
    knobs: { clockSkewMs: 0, everyOptionalNull: false },
    shapes: { gpuMemory: 'driver', externalAs: 'boolean' },
  } as unknown as World; // holds because a row is made of nothing else of the world
  const rows: Record<string, unknown>[] = [];
  for (const ask of market.asks()) {
    const row = offerRow(world, ask, 'on-demand', 50);
    // the searches that the adapter sends let nothing else through
    rows.push({ ...row, verification: 'verified', rentable: true, rented: false, disk_space: 400 });
    if (rows.length === count) break;
  }
  if (rows.length < count) throw new Error(`the market has ${rows.length} offers, not ${count}`);
  return JSON.stringify({ offers: rows });
}
