import type { Clock } from '../../src/core/clock.ts';
import { HOUR_MS } from '../../src/core/duration.ts';
import type { MicroUsd } from '../../src/core/money.ts';
import { instanceId, offerId, providerId } from '../../src/provider/ids.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { SshAccess, Utilisation } from '../../src/provider/instance.ts';
import { priceWithDisk } from '../../src/provider/offer.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { ProviderErrorKind, ProviderOperation } from '../../src/provider/provider-error.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import type { Template } from '../../src/provider/template.ts';

/** What goes wrong with a call. */
export type Fault =
  /** Refused: nothing is done. */
  | { readonly do: 'fail'; readonly kind: ProviderErrorKind; readonly retryAfterMs?: number }
  /** Thrown as it is: a bug of the provider. */
  | { readonly do: 'throw'; readonly error: unknown }
  /** Done, but the connection breaks before the answer. */
  | { readonly do: 'lose-answer' }
  /** No answer until the caller gives up; `done` tells whether the request was carried out. */
  | { readonly do: 'hang'; readonly done: boolean }
  /** A create whose answer is lost and whose instance appears later. */
  | { readonly do: 'land-late'; readonly afterMs: number }
  /** A list that claims that there is nothing. */
  | { readonly do: 'empty' }
  /** A list that breaks off after the first page; the provider notices. */
  | { readonly do: 'break-off' }
  /** A list that lacks these, or a get that denies them. */
  | { readonly do: 'omit'; readonly ids: readonly InstanceId[] }
  /** A destroy that is accepted and not carried out. */
  | { readonly do: 'ignore' }
  /** A destroy that is not carried out and answered with `'gone'`. */
  | { readonly do: 'claim-gone' };

export interface AccountSettings {
  /** From sending a create until it is answered; the instance exists from the sending. */
  createMs: number;
  /** From existing until it runs; Infinity for a boot that is stuck. */
  bootMs: number;
  /** From an accepted destroy until it is gone. */
  destroyMs: number;
  /** How long a new instance is missing from the list. */
  listLagMs: number;
  /** How long a new instance is denied by get. */
  getLagMs: number;
  /** How long the list still shows, as stopping, what is gone. */
  listStaleMs: number;
  /** Rows of a page: lists are put together from pages. */
  pageSize: number;
}

/** An instance as this market keeps it, in words of its own. Times are of the monotonic clock. */
export interface MarketInstance {
  readonly id: InstanceId;
  tag: string | undefined;
  /** Wins over what time makes of the state. */
  word: string | undefined;
  failure: string | undefined;
  readonly offer: Offer | undefined;
  readonly request: CreateRequest | undefined;
  priceMicrosPerHour: MicroUsd;
  readonly existsAt: number;
  readonly createdAt: number;
  goneAt: number | undefined;
  utilisation: Utilisation | undefined;
  ssh: SshAccess;
}

export type AccountEvent = {
  readonly at: number;
  readonly instanceId: InstanceId;
  readonly tag: string | undefined;
  /** `created` by us, `destroyed` when a destroy was carried out, `vanished` when it died by itself. */
  readonly what: 'created' | 'destroyed' | 'vanished';
};

const DEFAULTS: AccountSettings = {
  createMs: 0,
  bootMs: 1_000,
  destroyMs: 0,
  listLagMs: 0,
  getLagMs: 0,
  listStaleMs: 0,
  pageSize: 25,
};

interface AccountDeps {
  readonly clock: Clock;
  readonly offers: readonly Offer[];
  readonly settings?: Partial<AccountSettings>;
}

/**
 * The vendor's side of a market in memory: what exists, what is shown, and what goes wrong. Everything follows from the clock when it is
 * asked for, so that nothing runs by itself and the same calls at the same times give the same answers.
 */
export class InMemoryAccount {
  readonly settings: AccountSettings;
  readonly events: AccountEvent[] = [];
  offers: readonly Offer[];
  /** Whatever existed has been paid from it. */
  paidInMicros: MicroUsd = 100_000_000;
  /** None unless a test gives it some. */
  templates: readonly Template[] = [];

  readonly #clock: Clock;
  readonly #instances: MarketInstance[] = [];
  readonly #calls = new Map<ProviderOperation, number>();
  readonly #nextFaults = new Map<ProviderOperation, Fault[]>();
  readonly #lastingFaults = new Map<ProviderOperation, Fault>();
  readonly #idsToReuse: InstanceId[] = [];
  #made = 0;

  constructor({ clock, offers, settings }: AccountDeps) {
    this.#clock = clock;
    this.offers = offers;
    this.settings = { ...DEFAULTS, ...settings };
  }

  // What a test asks.

  /** How often the provider was called. */
  calls(operation: ProviderOperation): number {
    return this.#calls.get(operation) ?? 0;
  }

  /** Everything that ever was, in order of its making; what lands later too. */
  all(): readonly MarketInstance[] {
    return this.#instances;
  }

  /** The truth, whatever lists say: what exists now, in order of its making. */
  living(): readonly MarketInstance[] {
    return this.#instances.filter((instance) => this.exists(instance));
  }

  livingWithTag(tag: string): readonly MarketInstance[] {
    return this.living().filter((instance) => instance.tag === tag);
  }

  /** The latest instance of that id, dead or alive. */
  instance(id: InstanceId): MarketInstance {
    const found = this.#instances.findLast((instance) => instance.id === id);
    if (!found) throw new Error(`there never was an instance ${id}`);
    return found;
  }

  createdTags(): readonly (string | undefined)[] {
    return this.events.filter(({ what }) => what === 'created').map(({ tag }) => tag);
  }

  destroyedIds(): readonly InstanceId[] {
    return this.events.filter(({ what }) => what === 'destroyed').map((event) => event.instanceId);
  }

  // What a test does to the market.

  /** The next calls of that kind go wrong like this, one fault each, before any lasting one. */
  failNext(operation: ProviderOperation, ...faults: readonly Fault[]): void {
    this.#nextFaults.set(operation, [...(this.#nextFaults.get(operation) ?? []), ...faults]);
  }

  /** All calls of that kind go wrong like this until `heal`. */
  failAlways(operation: ProviderOperation, fault: Fault): void {
    this.#lastingFaults.set(operation, fault);
  }

  heal(): void {
    this.#nextFaults.clear();
    this.#lastingFaults.clear();
  }

  /** Somebody else's, or one of ours that nobody here made. */
  plant({ tag, id }: { readonly tag?: string; readonly id?: InstanceId } = {}): InstanceId {
    if (id) this.#idsToReuse.unshift(id);
    return this.#add({ tag, priceMicrosPerHour: 500_000 }).id;
  }

  /** Somebody else rented it. */
  takeOffer(offer: Pick<Offer, 'id'>): void {
    this.offers = this.offers.filter((other) => other.id !== offer.id);
  }

  changeOffer(offer: Pick<Offer, 'id'>, change: Partial<Offer>): void {
    this.offers = this.offers.map((other) => (other.id === offer.id ? { ...other, ...change } : other));
  }

  /** It dies without a destroy. */
  vanish(id: InstanceId): void {
    this.#end(this.instance(id), 'vanished', 0);
  }

  /** It stays, and costs, but will not run again. */
  break(id: InstanceId, reason: string): void {
    Object.assign(this.instance(id), { word: 'broken', failure: reason });
  }

  /** The market shows this word as its state, `parked` or one that nobody knows; undefined ends that. */
  setWord(id: InstanceId, word: string | undefined): void {
    this.instance(id).word = word;
  }

  loseTag(id: InstanceId): void {
    this.instance(id).tag = undefined;
  }

  /** The next new instance bears an id that was another's. */
  reuseId(id: InstanceId): void {
    this.#idsToReuse.push(id);
  }

  // What the provider asks.

  /** Counts a call and tells what goes wrong with it. */
  takeCall(operation: ProviderOperation): Fault | undefined {
    this.#calls.set(operation, this.calls(operation) + 1);
    return this.#nextFaults.get(operation)?.shift() ?? this.#lastingFaults.get(operation);
  }

  create(request: CreateRequest, { landsAfterMs = 0 }: { readonly landsAfterMs?: number } = {}): MarketInstance | 'taken' {
    const offer = this.freeOffers().find(({ providerOfferId }) => providerOfferId === request.offer.providerOfferId);
    const priceMicrosPerHour = offer && priceWithDisk(offer, request.diskGb);
    if (!offer || priceMicrosPerHour === undefined || priceMicrosPerHour > request.maxPriceMicrosPerHour) return 'taken';
    const instance = this.#add({ tag: request.tag, priceMicrosPerHour, offer, request, landsAfterMs });
    this.#note('created', instance);
    return instance;
  }

  /** What is left once everything that ever existed is paid for, at its price and for its time. */
  balanceMicros(): MicroUsd {
    const now = this.#clock.monotonicMs();
    const spent = this.#instances.reduce((sum, { existsAt, goneAt, priceMicrosPerHour }) => {
      const aliveMs = Math.max(0, Math.min(goneAt ?? now, now) - existsAt);
      return sum + (priceMicrosPerHour * aliveMs) / HOUR_MS;
    }, 0);
    return Math.round(this.paidInMicros - spent);
  }

  /** Asks for the end; whether there was anything to end. */
  destroy(id: InstanceId): boolean {
    const instance = this.#current(id);
    if (!instance) return false;
    if (instance.goneAt === undefined) this.#end(instance, 'destroyed', this.settings.destroyMs);
    return true;
  }

  get(id: InstanceId): MarketInstance | undefined {
    const instance = this.#current(id);
    return instance && this.#ageMs(instance) >= this.settings.getLagMs ? instance : undefined;
  }

  list(): readonly MarketInstance[] {
    const { listLagMs, listStaleMs } = this.settings;
    return this.#instances.filter(
      (instance) =>
        this.#ageMs(instance) >= listLagMs &&
        (instance.goneAt === undefined || this.#clock.monotonicMs() < instance.goneAt + listStaleMs),
    );
  }

  freeOffers(): readonly Offer[] {
    const rented = (offer: Offer) => this.living().filter((instance) => instance.offer?.id === offer.id).length;
    return this.offers.filter((offer) => rented(offer) < offer.units);
  }

  wordOf(instance: MarketInstance): string {
    if (instance.goneAt !== undefined) return 'leaving';
    return instance.word ?? (this.#ageMs(instance) < this.settings.bootMs ? 'loading' : 'up');
  }

  exists(instance: MarketInstance): boolean {
    const now = this.#clock.monotonicMs();
    return instance.existsAt <= now && (instance.goneAt === undefined || now < instance.goneAt);
  }

  #current(id: InstanceId): MarketInstance | undefined {
    return this.#instances.findLast((instance) => instance.id === id && this.exists(instance));
  }

  #ageMs(instance: MarketInstance): number {
    return this.#clock.monotonicMs() - instance.existsAt;
  }

  #add(made: {
    readonly tag: string | undefined;
    readonly priceMicrosPerHour: MicroUsd;
    readonly offer?: Offer;
    readonly request?: CreateRequest;
    readonly landsAfterMs?: number;
  }): MarketInstance {
    this.#made += 1;
    const landsAfterMs = made.landsAfterMs ?? 0;
    const instance: MarketInstance = {
      id: this.#idsToReuse.shift() ?? instanceId(`i-${this.#made}`),
      tag: made.tag,
      word: undefined,
      failure: undefined,
      offer: made.offer,
      request: made.request,
      priceMicrosPerHour: made.priceMicrosPerHour,
      existsAt: this.#clock.monotonicMs() + landsAfterMs,
      createdAt: this.#clock.now() + landsAfterMs,
      goneAt: undefined,
      utilisation: undefined,
      ssh: { user: 'root', routes: [{ host: '127.0.0.1', port: 20_000 + this.#made }] },
    };
    this.#instances.push(instance);
    return instance;
  }

  #end(instance: MarketInstance, what: 'destroyed' | 'vanished', afterMs: number): void {
    instance.goneAt = this.#clock.monotonicMs() + afterMs;
    this.#note(what, instance);
  }

  #note(what: AccountEvent['what'], instance: MarketInstance): void {
    this.events.push({ at: this.#clock.now(), what, instanceId: instance.id, tag: instance.tag });
  }
}

/** An offer of the market in memory; everything can be changed. */
export function anOffer(overrides: Partial<Offer> = {}): Offer {
  const providerOfferId = overrides.providerOfferId ?? 'ask-1';
  const provider = overrides.provider ?? providerId('memory');
  return {
    id: offerId(`${provider}-${providerOfferId}`),
    provider,
    providerOfferId,
    machineId: `machine-of-${providerOfferId}`,
    gpuType: 'RTX 4090',
    gpuCount: 1,
    vramMib: 24_564,
    cpuCores: 16,
    memoryMib: 65_536,
    diskGb: 50,
    minDiskGb: 10,
    maxDiskGb: 500,
    priceMicrosPerHour: 340_000,
    diskMicrosPerGbHour: 140,
    location: 'Oslo, NO',
    reliability: 0.99,
    confidence: 0.9,
    cudaVersion: 12.4,
    interruptible: false,
    units: 1,
    ...overrides,
  };
}

/** For an instance on any machine with CUDA 12.4. */
export function aTemplate(overrides: Partial<Template> = {}): Template {
  return {
    provider: providerId('memory'),
    id: 1,
    hashId: 'abcd0001',
    name: 'Notebook',
    image: 'jupyter/base-notebook',
    usesSsh: true,
    usesDirectSsh: true,
    recommended: true,
    needs: [{ trait: 'cuda', operator: 'gte', values: [12.4] }],
    ...overrides,
  };
}
