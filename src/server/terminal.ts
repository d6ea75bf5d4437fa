/** Who sits before a command, as the entry points in this folder see it. */
export interface Terminal {
  /** The result, on standard output. */
  say(line: string): void;
  /** What is wrong or worth knowing beside it, on standard error. */
  complain(line: string): void;
  /** Asks a person; undefined where there is none. */
  ask(question: string): Promise<string | undefined>;
}
