import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/** A value that must not reach a log, an error or JSON: it prints as `[redacted]` everywhere, until somebody says `reveal()`. */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
