import type { Clock } from '../../src/core/clock.ts';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { whenAborted } from '../../src/core/when-aborted.ts';
import type { HttpAnswer } from '../../src/provider/http-client.ts';
import { parseLenientList } from '../../src/provider/lenient-list.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { CallOptions } from '../../src/provider/provider.ts';
import type { TemplateListing } from '../../src/provider/template.ts';
import { refused, type VastClient } from './client.ts';
import { explain, failure, read } from './mapping.ts';
import { TemplateRow, TemplatesPage } from './schema.ts';
import { toTemplate } from './template-mapping.ts';

const OPERATION = 'ListTemplates';
/** So long an answer is as good as new; an unknown hash may become known sooner. */
const FRESH_MS = 10 * MINUTE_MS;
const UNKNOWN_MS = MINUTE_MS;
/** So long an old answer is still better than none, while they do not answer. */
const USABLE_MS = DAY_MS;
const PAUSE_AFTER_FAILURE_MS = MINUTE_MS;
/** A look-up belongs to all who wait for it, so it has its own time, its turn included. */
const LOOK_UP_MS = 60 * SECOND_MS;
const MOST_HASHES = 200;
/** Hashes that are looked up at a time: each takes a turn of three seconds, and anybody can think of hashes. */
const MOST_LOOK_UPS = 5;
/** They recommend some dozens; there are thousands of others. */
const MOST_TEMPLATES = 1_000;
const HASH = /^[a-f0-9]{8,64}$/i;

/** Their templates, from memory where that is young enough; one question at a time for the same thing. */
export interface TemplateShelf {
  /** Those that they recommend. Throws only when there is no answer and none within the last day. */
  recommended(options: CallOptions): Promise<TemplateListing>;
  /** The one with the hash, of whomever. */
  byHash(hashId: string, options: CallOptions): Promise<TemplateListing>;
}

export interface TemplateShelfDeps {
  readonly client: Pick<VastClient, 'listTemplates'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs' | 'timeoutSignal'>;
  readonly log: Log;
}

interface Held {
  listing?: TemplateListing;
  readAtMs: number;
  failedAtMs?: number;
  asking?: Promise<TemplateListing>;
}

export function createTemplateShelf({ client, clock, log }: TemplateShelfDeps): TemplateShelf {
  const recommendedOnes: Held = { readAtMs: Number.NEGATIVE_INFINITY };
  const hashes = new Map<string, Held>();

  const ageMs = ({ readAtMs }: Held) => clock.monotonicMs() - readAtMs;
  const isFresh = (held: Held) => ageMs(held) < (held.listing?.templates.length === 0 ? UNKNOWN_MS : FRESH_MS);
  const hasJustFailed = ({ failedAtMs = Number.NEGATIVE_INFINITY }: Held) =>
    clock.monotonicMs() - failedAtMs < PAUSE_AFTER_FAILURE_MS;

  async function ask(held: Held, columns: Readonly<Record<string, string | boolean>>): Promise<TemplateListing> {
    try {
      const observedAt = clock.now();
      const answer = await client.listTemplates(columns, { operation: OPERATION, signal: clock.timeoutSignal(LOOK_UP_MS) });
      const { hash_id: hash } = columns;
      const isUnknown = hash !== undefined && saysUnknown(answer);
      const page = TemplatesPage.safeParse(isUnknown ? { templates: [] } : answer.json);
      if (!page.success || !(isUnknown || (answer.status >= 200 && answer.status < 300))) {
        throw refused(answer, { operation: OPERATION, endpoint: 'templates', otherwise: 'protocol' });
      }
      const rows = parseLenientList(page.data.templates, TemplateRow, { limit: MOST_TEMPLATES });
      if (rows.dropped > 0) log.debug({ dropped: rows.dropped, firstFault: rows.firstFault }, 'vast.ai templates left out');
      // their filters are not to be trusted
      const wanted = rows.rows.filter((row) => (hash === undefined ? row.recommended !== false : row.hash_id === hash));
      held.listing = { templates: wanted.map(toTemplate), observedAt, dropped: rows.dropped };
      held.readAtMs = clock.monotonicMs();
      delete held.failedAtMs;
      return held.listing;
    } catch (error) {
      held.failedAtMs = clock.monotonicMs();
      throw error;
    } finally {
      delete held.asking;
    }
  }

  async function listed(
    held: Held,
    columns: Readonly<Record<string, string | boolean>>,
    { signal }: CallOptions,
  ): Promise<TemplateListing> {
    const { listing } = held;
    if (listing && isFresh(held)) return listing;
    // that there was none is no news after a while
    const usable = listing && listing.templates.length > 0 && ageMs(held) < USABLE_MS ? listing : undefined;
    if (usable && hasJustFailed(held)) return usable;
    held.asking ??= ask(held, columns);
    try {
      return await unlessAborted(held.asking, signal);
    } catch (error) {
      if (usable === undefined || signal.aborted) throw error;
      log.warn(
        { kind: error instanceof ProviderError ? error.kind : 'unforeseen' },
        'vast.ai templates are shown as they were',
      );
      return usable;
    }
  }

  function shelfOf(hashId: string): Held {
    const known = hashes.get(hashId);
    if (known) hashes.delete(hashId); // and put at the end again: the first is the one unused for longest
    const held = known ?? { readAtMs: Number.NEGATIVE_INFINITY };
    hashes.set(hashId, held);
    for (const [oldest, { asking }] of hashes) {
      if (hashes.size <= MOST_HASHES) break;
      if (asking === undefined && oldest !== hashId) hashes.delete(oldest);
    }
    return held;
  }

  async function lookUp(hashId: string, options: CallOptions): Promise<TemplateListing> {
    const held = shelfOf(hashId);
    const isAsked = held.asking !== undefined || (held.listing && isFresh(held));
    const underWay = [...hashes.values()].filter(({ asking }) => asking !== undefined).length;
    if (!isAsked && underWay >= MOST_LOOK_UPS) {
      const why = 'too many templates are being looked up; try again soon';
      throw failure({ operation: OPERATION, kind: 'unavailable', why });
    }
    try {
      return await listed(held, { hash_id: hashId }, options);
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind !== 'rejected') throw error;
      // a market that cannot be asked by hash: then there are only those that it recommends
      const all = await listed(recommendedOnes, { recommended: true }, options);
      return { ...all, templates: all.templates.filter((each) => each.hashId === hashId) };
    }
  }

  return {
    recommended: (options) => listed(recommendedOnes, { recommended: true }, options),

    async byHash(hashId, options) {
      const observedAt = clock.now();
      if (!HASH.test(hashId)) return { templates: [], observedAt, dropped: 0 };
      const { listing } = recommendedOnes;
      const found = listing && isFresh(recommendedOnes) ? listing.templates.find((each) => each.hashId === hashId) : undefined;
      if (listing && found) return { templates: [found], observedAt: listing.observedAt, dropped: 0 };
      return lookUp(hashId, options);
    },
  };
}

/** A 404 to the question for one; a wrong key is one, too, and says so. */
function saysUnknown(answer: HttpAnswer): boolean {
  return answer.status === 404 && explain(read(answer), OPERATION)?.kind !== 'auth';
}

/** The answer, or at the caller's abort an error that says that nothing is known. */
async function unlessAborted(answer: Promise<TemplateListing>, signal: AbortSignal): Promise<TemplateListing> {
  let stopListening = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    const giveUp = () => reject(failure({ operation: OPERATION, kind: 'unavailable', why: 'cancelled while it was asked' }));
    stopListening = whenAborted(signal, giveUp);
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    stopListening();
  }
}
