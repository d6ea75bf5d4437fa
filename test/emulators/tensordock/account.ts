import type { Reply } from '../kit/http-server.ts';
import { ok } from './answers.ts';
import type { Context } from './answers.ts';

/** `POST /auth/test`: who comes this far has a good token. */
export function testAuth(): Reply {
  return ok({ success: true });
}

/** v0 `billing/balance`: the old marketplace still tells what v2 has no known body for. */
export function balance({ world }: Context): Reply {
  return ok({
    success: true,
    balance: Math.round(world.account.credit() * 10_000) / 10_000,
    hourly_cost: Math.round(world.ledger.usdPerHour() * 10_000) / 10_000,
  });
}
