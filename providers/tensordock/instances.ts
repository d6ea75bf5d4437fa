import { assertNever } from '../../src/core/assert-never.ts';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { parseOwnershipTag } from '../../src/provider/ownership-tag.ts';
import { LOGIN_USER } from './boot-commands.ts';
import { meaningOf } from './mapping.ts';
import type { ToldInstance } from './reading.ts';
import type { WayIn } from './ways-in.ts';

const HIGHEST_USD_PER_HOUR = 100_000;
const NO_FORWARD = 'the market never opened the port to its SSH server';

/** Their record as an instance; `wayIn` is asked only for one that runs. */
export function toInstance(record: ToldInstance, wayIn: () => WayIn): Instance {
  const { becomes, reason = '', isBilled = true } = meaningOf(record.status);
  const tag = tagOf(record);
  const price = isBilled ? priceOf(record) : 0;
  const common = {
    id: instanceId(record.id),
    ...(tag !== undefined && { tag }),
    ...(price !== undefined && { priceMicrosPerHour: price }),
  };
  switch (becomes) {
    case 'running': {
      const way = wayIn();
      if (way === 'never') return { ...common, state: 'failed', reason: NO_FORWARD };
      return way === 'not yet'
        ? { ...common, state: 'starting' }
        : { ...common, state: becomes, ssh: { user: LOGIN_USER, routes: [way] } };
    }
    case 'failed':
      return { ...common, state: becomes, reason };
    case 'starting':
    case 'stopping':
    case 'paused':
      return { ...common, state: becomes };
    default:
      return assertNever(becomes, 'state');
  }
}

/** Names are for people, too: only one that is a tag is one. */
function tagOf({ name }: ToldInstance): string | undefined {
  return name !== undefined && parseOwnershipTag(name) !== undefined ? name : undefined;
}

/** The same in every state that is billed. A machine that costs nothing is one whose price was not told. */
function priceOf({ rateHourly, rate_hourly: rateSnake }: ToldInstance): MicroUsd | undefined {
  const usd = rateHourly ?? rateSnake;
  return usd === undefined || usd <= 0 || usd > HIGHEST_USD_PER_HOUR ? undefined : fromUsd(usd);
}
