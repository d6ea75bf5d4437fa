import type { Clock, EpochMs } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import { createBreather, gently } from '../../src/core/gently.ts';
import type { Log } from '../../src/core/log.ts';
import { isPast } from '../../src/core/moment.ts';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';
import type { Capabilities } from '../../src/provider/capabilities.ts';
import { isLoopbackUrl, type HttpAnswer } from '../../src/provider/http-client.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import type { OfferQuery } from '../../src/provider/offer.ts';
import { ProviderError, type ProviderOperation } from '../../src/provider/provider-error.ts';
import type { CallOptions, CreateRequest, Provider } from '../../src/provider/provider.ts';
import { eachRowInPieces } from '../../src/provider/rows-in-pieces.ts';
import type { Template } from '../../src/provider/template.ts';
import { PAGE_ROWS, refused, type VastClient } from './client.ts';
import { readCharges } from './charges.ts';
import { createOrder } from './create-order.ts';
import { createHeartbeats } from './heartbeats.ts';
import { LOGIN_USER, toInstance } from './instances.ts';
import { explain, failure, mayBeForCredit, read, saysBadCursor, saysNoSuchInstance, tellStatus, VASTAI } from './mapping.ts';
import type { ToldStatus } from './mapping.ts';
import { createOfferReader, searchBody, type ReadOffers, type SearchKind } from './offers.ts';
import { createRowBudget, sustainablePeriodMs } from './row-budget.ts';
import { Account, CreateAnswer, InstanceRecord, InstancesPage, SuccessAnswer } from './schema.ts';
import { attachMissingKeys, detachKeys } from './ssh-keys.ts';
import { createSweeps } from './sweeps.ts';
import { createTemplateShelf } from './templates.ts';

export interface VastSettings {
  readonly baseUrl: URL;
  readonly defaultImage: string;
  readonly minReliability: number;
  readonly offersPerSearch: number;
  /** Of those that somebody else gets who bids more; 0 for none. */
  readonly interruptibleOffers: number;
  readonly offerRowsPerDay: number;
}

export interface VastProviderDeps {
  readonly client: VastClient;
  readonly settings: VastSettings;
  readonly clock: Clock;
  readonly log: Log;
}

const OUT_OF_CREDIT: ToldStatus = {
  story: 'out of credit',
  becomes: 'failed',
  reason: 'the account has run out of credit, and the market stopped the instance',
  fault: 'funds',
};
/** Some accounts get no more rows than these of one search, whatever is asked, and nothing says so. */
const MOST_ROWS_SEEN = 64;
/** Far more instances than an account has; a list that does not end is no list. */
const MOST_PAGES = 400;
const CREDIT_KEEPS_MS = 60 * SECOND_MS;
/** The turn of a create comes within a minute, and the exchange itself has half of one. */
const CREATE_TIMEOUT_MS = 90 * SECOND_MS;

/** Vast.ai behind our verbs. */
export function createVastProvider({ client, settings, clock, log }: VastProviderDeps): Provider {
  const heartbeats = createHeartbeats({ clock });
  const budget = createRowBudget({ rowsPerDay: settings.offerRowsPerDay, clock });
  let lastCredit: { readonly micros: MicroUsd; readonly readAtMs: number } | undefined;

  async function readCredit(operation: ProviderOperation, { signal }: CallOptions): Promise<MicroUsd> {
    const answer = await client.account({ operation, signal });
    const account = Account.safeParse(answer.json);
    if (!isOk(answer) || !account.success) throw refused(answer, { operation, endpoint: 'account', otherwise: 'protocol' });
    const micros = fromUsd(account.data.credit);
    lastCredit = { micros, readAtMs: clock.monotonicMs() };
    return micros;
  }

  /** Whether the account is known to be empty; what cannot be found out is not known. */
  async function isBroke(operation: ProviderOperation, options: CallOptions, { noOlderThanMs = 0 } = {}): Promise<boolean> {
    if (lastCredit && clock.monotonicMs() - lastCredit.readAtMs < noOlderThanMs) return lastCredit.micros <= 0;
    try {
      return (await readCredit(operation, options)) <= 0;
    } catch (error) {
      log.debug({ kind: error instanceof ProviderError ? error.kind : 'unforeseen' }, 'vast.ai credit could not be read');
      return false;
    }
  }

  async function find(id: string, operation: ProviderOperation, { signal }: CallOptions): Promise<InstanceRecord | undefined> {
    const answer = await client.getInstance(id, { operation, signal });
    const found = recordIn(answer, operation);
    if (found === undefined) heartbeats.forget(id);
    else if (found.id !== id) throw failure({ operation, kind: 'protocol', why: 'the answer is about another instance' });
    return found;
  }

  /** An empty account stops machines without a word: that is looked up before another tenant or the host is blamed. */
  async function statusOf(record: InstanceRecord, options: CallOptions): Promise<ToldStatus> {
    const told = tellStatus(record);
    if (!mayBeForCredit(told) || !(await isBroke('GetInstanceStatus', options, { noOlderThanMs: CREDIT_KEEPS_MS })))
      return told;
    return OUT_OF_CREDIT;
  }

  /** The same for many: the credit is read once, and only where it may be to blame. */
  async function statusesOf(records: readonly InstanceRecord[], options: CallOptions): Promise<readonly ToldStatus[]> {
    const told = records.map((record) => tellStatus(record));
    const wronged = told.some((each) => mayBeForCredit(each));
    const broke = wronged && (await isBroke('ListAllInstances', options, { noOlderThanMs: CREDIT_KEEPS_MS }));
    return broke ? told.map((each) => (mayBeForCredit(each) ? OUT_OF_CREDIT : each)) : told;
  }

  async function readAllPages(
    operation: ProviderOperation,
    options: CallOptions,
  ): Promise<readonly InstanceRecord[] | 'cursor refused'> {
    const records = new Map<string, InstanceRecord>();
    const cursors = new Set<string>();
    for (let cursor: string | undefined; ;) {
      const answer = await client.listInstances(cursor, { operation, signal: options.signal });
      if (cursor !== undefined && saysBadCursor(read(answer))) return 'cursor refused';
      const page = InstancesPage.safeParse(answer.json);
      if (!isOk(answer) || isRefused(answer) || !page.success) {
        throw refused(answer, { operation, endpoint: 'list', otherwise: 'protocol' });
      }
      for (const row of page.data.instances) {
        const record = InstanceRecord.safeParse(row);
        if (!record.success) throw failure({ operation, kind: 'protocol', why: 'the list has a row that cannot be read' });
        records.set(record.data.id, record.data);
      }
      cursor = page.data.next_token ?? '';
      if (cursor === '') {
        const { next_token: next, total_instances: total, instances: rows } = page.data;
        if (next === undefined && total === undefined && rows.length >= PAGE_ROWS) {
          throw failure({ operation, kind: 'protocol', why: 'the list does not say whether it is complete' });
        }
        if (records.size < (total ?? 0)) {
          throw failure({ operation, kind: 'protocol', why: 'the list is shorter than it says itself' });
        }
        return [...records.values()];
      }
      if (cursors.has(cursor) || cursors.size >= MOST_PAGES) {
        throw failure({ operation, kind: 'protocol', why: 'the list does not end' });
      }
      cursors.add(cursor);
    }
  }

  async function readAll(operation: ProviderOperation, options: CallOptions): Promise<readonly InstanceRecord[]> {
    const first = await readAllPages(operation, options);
    const records = first === 'cursor refused' ? await readAllPages(operation, options) : first;
    if (records !== 'cursor refused') return records;
    throw failure({ operation, kind: 'protocol', why: 'the cursor of the list was refused twice' });
  }

  const templates = createTemplateShelf({ client, clock, log });

  /** Nothing is made while it is looked up, so whatever goes wrong is no riddle. */
  async function templateFor({ templateHashId }: CreateRequest, options: CallOptions): Promise<Template | undefined> {
    const operation = 'CreateInstance';
    if (templateHashId === undefined) return undefined;
    const { templates: found } = await templates.byHash(templateHashId, options).catch((cause: unknown) => {
      const kind = cause instanceof ProviderError && cause.kind === 'auth' ? 'auth' : 'unavailable';
      throw failure({ operation, kind, why: 'not sent, since the template could not be looked up', cause });
    });
    if (found[0] === undefined) throw failure({ operation, kind: 'rejected', why: 'the market has no such template' });
    return found[0];
  }

  async function searchOnce(
    { kind, query, limit, observedAt }: { kind: SearchKind; query: OfferQuery; limit: number; observedAt: EpochMs },
    { signal }: CallOptions,
  ): Promise<{ readonly offers: ReadOffers; readonly rows: number }> {
    const operation = 'ListOffers';
    const endpoint = kind === 'bid' ? 'searchBids' : 'search';
    const answer = await client.search(endpoint, searchBody(query, { ...settings, kind, limit }), { operation, signal });
    const reader = createOfferReader(query, { ...settings, kind, now: observedAt });
    const reading = eachRowInPieces(answer.text, 'offers', reader.take);
    const rows = isOk(answer) ? await gently(reading, createBreather(clock)) : undefined;
    if (rows === undefined) throw refused(answer, { operation, endpoint, otherwise: 'protocol' });
    return { offers: reader.read(), rows };
  }

  const sweeps = createSweeps({ clock, readAll: (signal) => readAll('GetInstanceStatus', { signal }) });

  /** Made, but not started, or not under the terms that were asked: it bills, so it goes before anything else is tried. */
  async function destroyStray(id: string, { signal }: CallOptions): Promise<void> {
    const operation = 'CreateInstance';
    const ambiguous = (cause: unknown) =>
      failure({ operation, kind: 'ambiguous', why: 'refused, yet a contract was made that could not be destroyed', cause });
    const answer = await client.destroy(id, { operation: 'DestroyInstance', signal }).catch((cause: unknown) => {
      throw ambiguous(cause);
    });
    if (!tookDestroy(answer)) throw ambiguous(undefined);
    log.warn({ instanceId: id }, 'vast.ai refused a create but made a contract; it was destroyed');
  }

  async function refusalOfCreate(answer: HttpAnswer, options: CallOptions): Promise<ProviderError> {
    const operation = 'CreateInstance';
    const said = read(answer);
    const refusal = explain(said, operation);
    if (said.status === 400 && said.words === '' && !hasContent(answer) && (await isBroke(operation, options))) {
      return failure({ operation, kind: 'funds', why: 'the account has no credit', said });
    }
    if (refusal === undefined) {
      return failure({ operation, kind: 'ambiguous', why: 'the answer does not tell whether an instance was made', said });
    }
    return failure({ operation, kind: refusal.kind, why: refusal.why, said });
  }

  async function judgeCreate(answer: HttpAnswer, request: CreateRequest, options: CallOptions): Promise<Instance> {
    const operation = 'CreateInstance';
    const body = CreateAnswer.safeParse(answer.json);
    const { success: isSuccess, new_contract: made } = body.success ? body.data : {};
    if (isOk(answer) && isSuccess === true) {
      if (made !== undefined) return { id: instanceId(made), tag: request.tag, state: 'starting' };
      throw failure({ operation, kind: 'ambiguous', why: 'accepted, but without the id of what was made', said: read(answer) });
    }
    if (made === undefined) throw await refusalOfCreate(answer, options);
    if (isSuccess !== false || answer.status >= 500) {
      throw failure({ operation, kind: 'ambiguous', why: 'the answer does not tell whether it succeeded', said: read(answer) });
    }
    await destroyStray(made, options);
    const said = read(answer);
    const known = explain(said, operation);
    // What went wrong with this offer need not be wrong with the next; only an empty account or a bad key is the same everywhere.
    const isOurs = known?.kind === 'funds' || known?.kind === 'auth';
    throw failure({
      operation,
      said,
      kind: isOurs ? known.kind : 'capacity',
      why: isOurs ? known.why : 'the offer could not be started',
    });
  }

  return {
    id: VASTAI,
    capabilities: capabilitiesFor(settings),

    async listOffers(query, options) {
      const wanted = wantedRows(query, settings);
      const taken = budget.take(wanted.onDemand + wanted.bids);
      if ('waitMs' in taken) {
        throw failure({
          operation: 'ListOffers',
          kind: 'rate_limited',
          why: 'the day has no more rows to spend now',
          retryAfterMs: taken.waitMs,
        });
      }
      const observedAt = clock.now();
      const bidRows = Math.floor((taken.rows * wanted.bids) / (wanted.onDemand + wanted.bids));
      let rowsLeft = taken.rows;
      const seen = { truncated: false };
      const search = async (kind: SearchKind, limit: number): Promise<ReadOffers> => {
        const { offers, rows } = await searchOnce({ kind, query, limit, observedAt }, options);
        rowsLeft -= rows;
        seen.truncated ||= rows >= limit || rows === MOST_ROWS_SEEN;
        return offers;
      };
      try {
        // both or none: without the other half what is shown would read as if it were no longer for sale
        const onDemand = await search('on-demand', taken.rows - bidRows);
        const bids = bidRows > 0 ? await search('bid', bidRows) : undefined;
        const dropped = onDemand.dropped + (bids?.dropped ?? 0);
        const firstFault = onDemand.firstFault ?? bids?.firstFault;
        if (dropped > 0) log.debug({ dropped, firstFault }, 'vast.ai offers that could not be read');
        return { offers: [...onDemand.offers, ...(bids?.offers ?? [])], observedAt, dropped, ...seen };
      } finally {
        budget.giveBack(rowsLeft);
      }
    },

    async createInstance(request, options) {
      const template = await templateFor(request, options);
      const order = createOrder(request, { ...settings, ...(template && { template }) });
      const answer = await client.create(request.offer.providerOfferId, order, {
        operation: 'CreateInstance',
        signal: options.signal,
        beforeSending: () => {
          if (!isPast(request.notAfter, clock)) return;
          throw failure({ operation: 'CreateInstance', kind: 'unavailable', why: 'not sent, its deadline had passed' });
        },
      });
      return judgeCreate(answer, request, options);
    },

    async getInstance(id, options) {
      const record = await sweeps.find(id, options.signal, () => find(id, 'GetInstanceStatus', options));
      if (record === undefined) return undefined;
      return toInstance(record, { heartbeats, now: clock.now() }, await statusOf(record, options));
    },

    async listInstances(options) {
      const records = await readAll('ListAllInstances', options);
      heartbeats.keepOnly(new Set(records.map(({ id }) => id)));
      const told = await statusesOf(records, options);
      const now = clock.now();
      return records.map((record, at) => toInstance(record, { heartbeats, now }, told[at]));
    },

    async destroyInstance(id, options) {
      const operation = 'DestroyInstance';
      const answer = await client.destroy(id, { operation, signal: options.signal });
      if (!tookDestroy(answer)) throw refused(answer, { operation, endpoint: 'destroy', otherwise: 'unavailable' });
      try {
        return (await find(id, operation, options)) === undefined ? 'gone' : 'destroying';
      } catch (error) {
        if (error instanceof ProviderError && error.kind === 'auth') throw error;
        log.debug({ instanceId: id }, 'vast.ai took a destroy but could not be asked what became of it');
        return 'destroying';
      }
    },

    async ensureSshKeys(id, keys, options) {
      await attachMissingKeys({ id, keys, client, clock, log }, options);
    },

    async removeSshKeys(id, keys, options) {
      await detachKeys({ id, keys, client }, options);
    },

    async check(options) {
      const credit = await readCredit('Check', options);
      const answer = await client.listInstances(undefined, { operation: 'Check', signal: options.signal });
      if (!isOk(answer) || isRefused(answer) || !InstancesPage.safeParse(answer.json).success) {
        throw refused(answer, { operation: 'Check', endpoint: 'list', otherwise: 'protocol' });
      }
      if (credit <= 0) throw failure({ operation: 'Check', kind: 'funds', why: 'the account has no credit' });
    },

    balance: (options) => readCredit('GetBalance', options),

    charges: (query, options) => readCharges(query, { client, clock, log }, options),

    templates: ({ hashId }, options) =>
      hashId === undefined ? templates.recommended(options) : templates.byHash(hashId, options),
  };
}

/** How many of each kind, when the caller wants no more than `limit` of any. */
function wantedRows({ limit = Infinity }: OfferQuery, { offersPerSearch, interruptibleOffers }: VastSettings) {
  return { onDemand: Math.max(1, Math.min(limit, offersPerSearch)), bids: Math.max(0, Math.min(limit, interruptibleOffers)) };
}

function capabilitiesFor({ baseUrl, offersPerSearch, interruptibleOffers, offerRowsPerDay }: VastSettings): Capabilities {
  return {
    absence: { observations: 3, spacingMs: 60 * SECOND_MS, windowMs: 15 * 60 * SECOND_MS, kinds: ['get', 'list'] },
    simulated: false,
    // The create takes keys, but does not reliably keep them: all of them go in by the boot script and by `ensureSshKeys`.
    sshKeysAtCreate: 'none',
    customImage: true,
    environment: true,
    onStart: true,
    templates: true,
    interruptible: interruptibleOffers > 0,
    privateAddresses: isLoopbackUrl(baseUrl),
    billing: { starting: 'disk', paused: 'disk' },
    createTimeoutMs: CREATE_TIMEOUT_MS,
    offerRefreshMs: Math.max(
      60 * SECOND_MS,
      sustainablePeriodMs({ rowsPerDay: offerRowsPerDay, rows: offersPerSearch + interruptibleOffers }),
    ),
    defaultUser: LOGIN_USER,
  };
}

/** The record, or undefined for the three ways in which they say that it does not exist. Everything else is thrown. */
function recordIn(answer: HttpAnswer, operation: ProviderOperation): InstanceRecord | undefined {
  if (saysNoSuchInstance(read(answer))) return undefined;
  const body = answer.json;
  if (!isOk(answer) || isRefused(answer) || typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw refused(answer, { operation, endpoint: 'get', otherwise: 'protocol' });
  }
  if (Object.keys(body).length === 0) return undefined;
  if (!('instances' in body))
    throw failure({ operation, kind: 'protocol', why: 'the answer says nothing of the instance', said: read(answer) });
  const told: unknown = Array.isArray(body.instances) ? (body.instances[0] ?? null) : body.instances;
  if (told === null) return undefined;
  const record = InstanceRecord.safeParse(told);
  if (!record.success) throw failure({ operation, kind: 'protocol', why: 'the record cannot be read', said: read(answer) });
  return record.data;
}

/** Also when there was nothing left to destroy: that proves nothing, and is asked afterwards. */
function tookDestroy(answer: HttpAnswer): boolean {
  if (saysNoSuchInstance(read(answer))) return true;
  if (!isOk(answer) || isRefused(answer)) return false;
  return answer.json !== undefined || answer.text.trim() === '';
}

function isOk({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300;
}

function isRefused({ json }: HttpAnswer): boolean {
  const body = SuccessAnswer.safeParse(json);
  return body.success && body.data.success === false;
}

function hasContent({ json, text }: HttpAnswer): boolean {
  return typeof json === 'object' && json !== null ? Object.keys(json).length > 0 : text.trim() !== '';
}
