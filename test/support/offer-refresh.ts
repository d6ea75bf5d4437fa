import { createOfferRefreshController } from '../../src/controllers/offer-refresh.ts';
import { createTaskPool, type TaskPool } from '../../src/controllers/task-pool.ts';
import { MINUTE_MS } from '../../src/core/duration.ts';
import type { ProviderId } from '../../src/provider/ids.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { World } from './world.ts';

interface Overrides {
  readonly refreshMs?: number;
  readonly providers?: readonly Provider[];
  readonly account?: string;
  /** Whether others may hold the lease. */
  readonly shared?: boolean;
}

/** A second offer refresh over a world's replica, driven by hand; `pass` waits for what it begins. */
export function anOfferRefresh(
  { replica, log }: World,
  { refreshMs, providers, account = 'account', shared = false }: Overrides = {},
) {
  const { book, offers, clock, leases, wishes } = replica;
  const pool: TaskPool = createTaskPool({ concurrency: 1, log, clock });
  const own = new Map<ProviderId, Provider>(providers?.map((provider) => [provider.id, provider]));
  const controller = createOfferRefreshController({
    providers: providers ? own : replica.providers,
    accountOf: () => account,
    book,
    offers,
    leases,
    wishes,
    pool,
    clock,
    log,
    settings: {
      callTimeoutMs: 1_000,
      backOffMs: MINUTE_MS,
      holder: 'second',
      exclusive: !shared,
      ...(refreshMs === undefined ? {} : { refreshMs }),
    },
  });
  const begin = () => controller.reconcile({ signal: new AbortController().signal });
  return {
    controller,
    pool,
    begin,
    async pass() {
      const report = await begin();
      await controller.idle?.();
      return report;
    },
  };
}
