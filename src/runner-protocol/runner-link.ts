import { z } from 'zod';
import { plainLine } from '../core/text.ts';
import {
  PROTOCOL_VERSION,
  ReplyEnvelope,
  RequestEnvelope,
  RunnerReplies,
  type RunnerFailureKind,
  type RunnerReply,
  type RunnerRequest,
  type RunnerRequestKind,
} from './messages.ts';

interface LinkOptions {
  readonly signal: AbortSignal;
}

/** The runner's end: takes whatever arrived, answers with an envelope, never throws. */
export type RunnerHandler = (message: unknown, options: LinkOptions) => Promise<unknown>;

/** The broker's end. Throws nothing but `RunnerFailure`. */
export interface RunnerLink {
  call<Kind extends RunnerRequestKind>(
    request: Extract<RunnerRequest, { kind: Kind }>,
    options: LinkOptions,
  ): Promise<RunnerReply<Kind>>;
}

/** What a runner answers when it did not do what was asked, and what a link throws. */
export class RunnerFailure extends Error {
  readonly kind: RunnerFailureKind;

  constructor(kind: RunnerFailureKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'RunnerFailure';
    this.kind = kind;
  }
}

/** Whether a request changes something: when its answer is lost, the outcome is unknown rather than nothing. */
function changesSomething(kind: RunnerRequestKind): boolean {
  return kind === 'start' || kind === 'stop';
}

/**
 * A link to a runner in the same process. Messages still pass as JSON text through their schemas, both ways,
 * so that a runner on another machine sees and says the same.
 */
export function createLocalRunnerLink(handler: RunnerHandler): RunnerLink {
  return {
    async call<Kind extends RunnerRequestKind>(request: Extract<RunnerRequest, { kind: Kind }>, { signal }: LinkOptions) {
      if (signal.aborted)
        throw new RunnerFailure('unreachable', `runner ${request.kind}: cancelled before it was sent`, signal.reason);
      const envelope = RequestEnvelope.safeParse({ version: PROTOCOL_VERSION, request });
      if (!envelope.success) throw new RunnerFailure('refused', `runner ${request.kind}: ${problems(envelope.error)}`);
      const lost = changesSomething(request.kind) ? 'unknown' : 'unreachable';
      let answer: unknown;
      try {
        answer = throughText(await handler(throughText(envelope.data), { signal }));
      } catch (cause) {
        throw new RunnerFailure(lost, `runner ${request.kind}: no answer`, cause);
      }
      return readReply({ kind: request.kind as Kind, answer, lost }); // the parameter's type says so
    },
  };
}

function readReply<Kind extends RunnerRequestKind>(from: {
  kind: Kind;
  answer: unknown;
  lost: RunnerFailureKind;
}): RunnerReply<Kind> {
  const reply = ReplyEnvelope.safeParse(from.answer);
  if (!reply.success) throw new RunnerFailure(from.lost, `runner ${from.kind}: unreadable answer: ${problems(reply.error)}`);
  if (reply.data.outcome === 'failed') throw new RunnerFailure(reply.data.kind, reply.data.message);
  const body = RunnerReplies[from.kind].safeParse(reply.data.body);
  if (!body.success) throw new RunnerFailure(from.lost, `runner ${from.kind}: unreadable answer: ${problems(body.error)}`);
  return body.data as RunnerReply<Kind>; // parsed by the schema of this kind
}

/** One line naming each field at fault. */
export function problems(error: z.ZodError): string {
  return plainLine(error.issues.map((issue) => `${issue.path.join('.') || 'message'}: ${issue.message}`).join('; '), 400);
}

function throughText(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}
