import { z } from 'zod';

/**
 * A misbehaviour for the next calls that match. "before" means that the vendor did not act, "after" that it did and only the answer is lost.
 * `outcome` is handed to the endpoint, which knows what the word means there; `patch` is merged into a JSON answer.
 */
export const Fault = z.strictObject({
  method: z.string().optional().describe('HTTP method; any when absent'),
  path: z.string().optional().describe('regular expression on the path; any when absent'),
  times: z.int().min(1).default(1).describe('how many matching calls it hits'),
  skip: z.int().min(0).default(0).describe('how many matching calls pass first'),
  kind: z.enum([
    'reset-before',
    'reset-after',
    'silence-before',
    'silence-after',
    'status-before',
    'status-after',
    'half',
    'throttle',
    'outcome',
    'patch',
  ]),
  status: z.int().optional().describe('for status-*: default 502'),
  json: z.unknown().optional().describe('for status-*: the body; an HTML page when neither json nor text is given'),
  text: z.string().optional(),
  contentType: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  outcome: z.string().optional(),
  patch: z.record(z.string(), z.unknown()).optional(),
});
export type Fault = z.infer<typeof Fault>;
export type FaultInput = z.input<typeof Fault>;

export interface FaultQueue {
  inject(fault: FaultInput): void;
  /** The fault that this call runs into, if any; counts it. */
  take(method: string, path: string): Fault | undefined;
  clear(): void;
}

export function createFaultQueue(): FaultQueue {
  const waiting: { fault: Fault; skip: number; times: number; path: RegExp }[] = [];
  return {
    inject(input) {
      const fault = Fault.parse(input);
      waiting.push({ fault, skip: fault.skip, times: fault.times, path: new RegExp(fault.path ?? '') });
    },
    take(method, path) {
      for (const each of waiting) {
        if ((each.fault.method ?? method) !== method || !each.path.test(path)) continue;
        if (each.skip > 0) {
          each.skip -= 1;
          continue;
        }
        each.times -= 1;
        if (each.times === 0) waiting.splice(waiting.indexOf(each), 1);
        return each.fault;
      }
      return undefined;
    },
    clear() {
      waiting.length = 0;
    },
  };
}
