// The load generator, a process of its own: it must not share an event loop with what it measures. Takes jobs by message, one at a time.
import { createRequire } from 'node:module';

export interface LoadJob {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly connections: number;
  /** How long to send, in seconds; without it until every request has been sent once. */
  readonly seconds?: number;
  /** Sent in this order over all connections, again from the start when they run out. */
  readonly requests: readonly LoadRequest[];
}

export interface LoadRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the last answer's body. */
  readonly bytes: number;
  readonly answers: number;
  /** Answers by status, and `errors` for those that never came. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** The part of autocannon that is used here; it has no types of its own. */
interface Autocannon {
  (options: Record<string, unknown>): Promise<{ errors: number }> & {
    on(event: 'response', listener: (client: unknown, status: number, bytes: number, ms: number) => void): void;
  };
}

const require = createRequire(import.meta.url);
const autocannon = require('autocannon') as Autocannon; // by its documentation

process.on('message', (job) => void answer(job as LoadJob)); // our own parent sends nothing else

async function answer(job: LoadJob): Promise<void> {
  process.send?.(await run(job));
}

async function run({ url, connections, seconds, requests }: LoadJob): Promise<LoadResult> {
  let next = 0;
  const setupRequest = (request: object) => ({ ...request, ...requests[next++ % requests.length] });
  const latencies: number[] = [];
  const statuses: Record<string, number> = {};
  const startedMs = performance.now();
  let lastMs = startedMs;
  const running = autocannon({
    url,
    connections,
    timeout: 60,
    requests: [{ setupRequest }],
    // holds time and amount apart: it stops at whichever comes first
    ...(seconds === undefined ? { amount: requests.length, duration: 300 } : { duration: seconds }),
  });
  let bytes = 0;
  running.on('response', (_client, status, size, ms) => {
    latencies.push(ms);
    statuses[status] = (statuses[status] ?? 0) + 1;
    bytes = size;
    lastMs = performance.now();
  });
  const { errors } = await running;
  if (errors > 0) statuses['errors'] = errors;
  const took = (lastMs - startedMs) / 1_000;
  latencies.sort((one, other) => one - other);
  const at = (part: number) => latencies[Math.ceil(part * latencies.length) - 1] ?? Number.NaN;
  return {
    perSecond: latencies.length / took,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    bytes,
    answers: latencies.length,
    statuses,
    seconds: took,
  };
}
