import { describe, expect, it } from 'vitest';
import { render } from './metrics.ts';

describe('docs/metrics.md', () => {
  it.each([
    '| `gpu_sessions_active` | gauge | `provider`, `status` |',
    '| `gpu_sessions_destroyed_total` | counter | `provider`, `reason` |',
    '| `gpu_ssh_verify_attempts` | histogram | `provider` |',
    '| `gpu_cost_accrued_usd` | counter | `provider` |',
    '| `http_requests_total` | counter | `method`, `path`, `status` |',
  ])('promises %s', async (row) => {
    expect(await render()).toContain(row);
  });
});
