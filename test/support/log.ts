import type { Log } from '../../src/core/log.ts';

export type LogLevel = keyof Log;

export interface LogEntry {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A log that remembers what was said. */
export interface RecordingLog extends Log {
  readonly entries: readonly LogEntry[];
  /** The messages of one level, in order. */
  messages(level: LogLevel): readonly string[];
  clear(): void;
}

export function recordingLog(): RecordingLog {
  const entries: LogEntry[] = [];
  const record = (level: LogLevel): Log[LogLevel] => {
    return (fields, message) => void entries.push({ level, message, fields });
  };
  return {
    entries,
    messages: (level) => entries.filter((entry) => entry.level === level).map((entry) => entry.message),
    clear: () => void entries.splice(0),
    debug: record('debug'),
    info: record('info'),
    warn: record('warn'),
    error: record('error'),
  };
}
