/** By which call an instance was seen to be missing. */
export type ObservationKind = 'get' | 'list';

/** When absence is believed (RULE-R6): so many observations, so far apart, over such a time, by all of these calls. */
export interface AbsencePolicy {
  readonly observations: number;
  readonly spacingMs: number;
  /** From the first to the last of them at least; also how long a new instance may be missing from a list. */
  readonly windowMs: number;
  /** All of them must have said so; the list alone counts while no instance id is known. */
  readonly kinds: readonly ObservationKind[];
}

/** What a provider can do, as data, so that nobody has to ask which provider it is. */
export interface Capabilities {
  readonly absence: AbsencePolicy;
  /**
   * Whether the id of what is gone may be given to something else of the account. A destroy is then sent only when its instance has just been
   * seen under our tag, by id or in a list (REL-B15); where ids are used once, it is also sent while nothing can be seen. Absent: once.
   */
  readonly reusesIds?: boolean;
  /** True for a market that exists only in this process or emulates one: never mixed with real offers. */
  readonly simulated: boolean;
  /** How many public keys the create call takes: `'many'`, `'one'` when the second goes in by `ensureSshKeys` or a boot script, `'none'` when all of them do. */
  readonly sshKeysAtCreate: 'many' | 'one' | 'none';
  readonly customImage: boolean;
  readonly environment: boolean;
  /** A script that runs at boot (`on_start_cmd`). */
  readonly onStart: boolean;
  readonly interruptible: boolean;
  /** Whether it has templates that a create can name; then `templates` is there, too. */
  readonly templates: boolean;
  /** Loopback and private SSH addresses are to be expected (architecture §9.20). */
  readonly privateAddresses: boolean;
  /** What the provider bills while an instance is not running: `'full'`, `'disk'` or `'none'`, by state. */
  readonly billing: { readonly starting: 'full' | 'disk' | 'none'; readonly paused: 'full' | 'disk' | 'none' };
  /** How long a create call may take at most, milliseconds; after it the outcome is unknown. */
  readonly createTimeoutMs: number;
  /** How long every other call may take, milliseconds, where PROVIDER_CALL_TIMEOUT is shorter: for vendors that need a minute for a read. */
  readonly callTimeoutMs?: number;
  /** How often the offers may and should be listed. */
  readonly offerRefreshMs: number;
  /** The login the provider's images use. */
  readonly defaultUser: string;
}
