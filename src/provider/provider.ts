import type { Duplex } from 'node:stream';
import type { Moment } from '../core/moment.ts';
import type { MicroUsd } from '../core/money.ts';
import type { Capabilities } from './capabilities.ts';
import type { ChargeListing, ChargeQuery } from './charge.ts';
import type { InstanceId, ProviderId } from './ids.ts';
import type { Instance } from './instance.ts';
import type { Offer, OfferListing, OfferQuery } from './offer.ts';
import type { OwnershipTag } from './ownership-tag.ts';
import type { TemplateListing, TemplateQuery } from './template.ts';

/** Every call may be cut short; what that means for its outcome stands with the call. */
export interface CallOptions {
  readonly signal: AbortSignal;
  /** After this moment a call that has not been sent yet is not sent any more: what it rests on is too old by then (RULE-R11). */
  readonly notAfter?: Moment;
}

export interface CreateRequest {
  /** Attached in the same vendor call that creates: label or name, and wherever else the vendor keeps a mark (see `environment`). */
  readonly tag: OwnershipTag;
  readonly offer: Offer;
  /** The consumer's key and the verifier's probe key, one line each. Data: they never pass through a shell. */
  readonly sshPublicKeys: readonly string[];
  readonly diskGb: number;
  /** The image asked for; absent means the provider's default. */
  readonly image?: string;
  /** Variables of the instance; BERTH_TAG is among them. */
  readonly environment: Readonly<Record<string, string>>;
  readonly onStart?: string;
  /** A template of this provider: it stands for what the request leaves open (image, `onStart`), and its variables are added. Only where `templates` is a capability. */
  readonly templateHashId?: string;
  /** The most that the consumer will pay an hour; a provider that can pass it on does. */
  readonly maxPriceMicrosPerHour: MicroUsd;
  /** For an interruptible offer, and only then: what to bid an hour, without the disk. At least the offer's floor; with the disk at most `maxPriceMicrosPerHour`. */
  readonly bidMicrosPerHour?: MicroUsd;
  /** Past this moment the call must not be sent any more (RULE-R11). The `fenced` decorator sees to it. */
  readonly notAfter: Moment;
}

/**
 * One market or pool, behind the same few verbs. What holds for all of them:
 * - A method may be called again at any time with the same arguments, from several places at once.
 * - All take an AbortSignal and throw nothing but `ProviderError`.
 * - Vendor words stop inside: what comes out is ours.
 * Rate limits, retries of reads, metrics and logs are decorators round any provider (`decorate.ts`); no provider has its own.
 */
export interface Provider {
  readonly id: ProviderId;
  /** Data, the same for the provider's whole life. */
  readonly capabilities: Capabilities;

  /** What could be rented now. Rows that cannot be read are left out and counted; an answer that cannot be read at all is thrown. */
  listOffers(query: OfferQuery, options: CallOptions): Promise<OfferListing>;

  /**
   * Resolves as soon as the vendor accepted, not when it runs; the instance bears the tag from its first moment.
   * The caller has stored the intent before calling. Throws `capacity` when the offer is gone and `ambiguous` when the outcome is unknown,
   * an abort or a time-out after the request was sent included. `unavailable` and `rate_limited` mean that nothing was made.
   */
  createInstance(request: CreateRequest, options: CallOptions): Promise<Instance>;

  /** The instance, or undefined when the vendor says that it does not exist: never for "could not ask", which is thrown. */
  getInstance(id: InstanceId, options: CallOptions): Promise<Instance | undefined>;

  /**
   * **Every** instance of the account, all pages, in any state, each with the tag it bears or none; or a throw.
   * A partial list is a lie that kills machines. The core filters, and destroys nothing without its own exact tag.
   */
  listInstances(options: CallOptions): Promise<readonly Instance[]>;

  /**
   * Asks for the end; the caller repeats it until `'gone'`, for ever. `'gone'` only when a read *after* the destroy says that it does not exist;
   * a 404 to the destroy itself is `'destroying'`, since it proves nothing. Destroying what is gone is no error.
   */
  destroyInstance(id: InstanceId, options: CallOptions): Promise<'destroying' | 'gone'>;

  /** Whether credentials and address work; throws when not. Changes nothing. */
  check(options: CallOptions): Promise<void>;

  /** For vendors whose keys are attached after create: makes sure that each key is there. Called until it holds. */
  ensureSshKeys?(id: InstanceId, keys: readonly string[], options: CallOptions): Promise<void>;
  /** Where the vendor keeps the keys that were attached: makes sure that these are not written back at a reboot. Called at hand-off. */
  removeSshKeys?(id: InstanceId, keys: readonly string[], options: CallOptions): Promise<void>;
  /**
   * A byte stream to the instance's sshd, for machines that nobody can dial. The signal cuts only the dialling short: the stream outlives it,
   * its two halves end apart (`allowHalfOpen`), and `destroy` closes it.
   */
  dialSsh?(id: InstanceId, options: CallOptions): Promise<Duplex>;
  balance?(options: CallOptions): Promise<MicroUsd>;
  /** The provider's own recipes for instances: those that it recommends or, by hash, any one. It may answer from memory and says as of when. */
  templates?(query: TemplateQuery, options: CallOptions): Promise<TemplateListing>;
  /** What the provider itself says to have billed in a period, of the whole account: all of it, or a throw. */
  charges?(query: ChargeQuery, options: CallOptions): Promise<ChargeListing>;
  /** Ends what the provider itself runs in this process (listeners, connections). Instances live on. */
  close?(): Promise<void>;
}
