import { pino } from 'pino';
import type { DestinationStream, Logger as PinoLogger } from 'pino';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { redactFields, redactText } from './redact.ts';
import { textLine } from './text-line.ts';

/** What the broker logs with; also what the HTTP framework takes for its own lines. */
export type Logger = PinoLogger & Log;

interface LoggerSettings {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'json' | 'text';
  readonly clock: Pick<Clock, 'now'>;
  /** Standard output unless a test wants to read along. */
  readonly destination?: DestinationStream;
}

/**
 * One line for each thing that happened: `time`, `level`, `message`, and the fields. Secrets are taken out by the name of their
 * field and by their form, at any depth, in children's fields as well. `log.child({ … })` gives every line of a part its fields.
 */
export function createLogger({
  level,
  format,
  clock,
  destination = pino.destination({ fd: 1, sync: true }),
}: LoggerSettings): Logger {
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      errorKey: 'error',
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }), log: redactFields },
      // Errors are described by redactFields; pino's own serializer would print their bound values and headers.
      serializers: { error: asItIs, err: asItIs },
      hooks: {
        logMethod(parameters, method) {
          const clean = parameters.map((parameter: unknown) =>
            typeof parameter === 'string' ? redactText(parameter) : parameter,
          );
          // Holds because texts stay texts and the rest is untouched.
          method.apply(this, clean as typeof parameters);
        },
      },
    },
    format === 'json' ? destination : { write: (line: string) => destination.write(textLine(line)) },
  );
  const makeChild = logger.child;
  // Children are made of this one, so that theirs are redacted as well.
  logger.child = function child(this: typeof logger, bindings, options) {
    return makeChild.call(this, redactFields(bindings), options) as ReturnType<typeof makeChild>;
  } as typeof logger.child; // the same but for its first argument
  return logger;
}

function asItIs(value: unknown): unknown {
  return value;
}
