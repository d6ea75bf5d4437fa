import type { Call, Step } from './statement.ts';

/** Runs the body of a transaction to its end, each call answered at once. */
export function drive<Result>(body: Step<Result>, execute: (call: Call) => unknown[]): Result {
  const steps = body[Symbol.iterator]();
  let step = steps.next([]);
  while (!step.done) step = steps.next(execute(step.value));
  return step.value;
}

/** The same where the database answers later. A call that fails ends the body without its hearing of it, on both alike. */
export async function driveAsync<Result>(body: Step<Result>, execute: (call: Call) => Promise<unknown[]>): Promise<Result> {
  const steps = body[Symbol.iterator]();
  let step = steps.next([]);
  while (!step.done) step = steps.next(await execute(step.value));
  return step.value;
}
