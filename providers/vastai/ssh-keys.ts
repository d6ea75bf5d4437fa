import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { CallOptions } from '../../src/provider/provider.ts';
import { refused, type VastClient } from './client.ts';
import { failure, read, saysNoSuchInstance } from './mapping.ts';
import { KeyRow, SuccessAnswer } from './schema.ts';

const OPERATION = 'AttachSSHKey';
const DETACH = 'DetachSSHKey';
/** An attach may fail and have happened all the same; twice the same key does no harm. */
const TRIES = 3;
const PAUSE_MS = 2 * SECOND_MS;

export interface KeysToAttach {
  readonly id: string;
  readonly keys: readonly string[];
  readonly client: Pick<VastClient, 'listKeys' | 'attachKey'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
}

/** Attaches the keys that the instance lacks. It takes them up to a minute to reach the machine. */
export async function attachMissingKeys(
  { id, keys, client, clock, log }: KeysToAttach,
  { signal }: CallOptions,
): Promise<void> {
  const present = await presentKeys({ id, client, log }, signal);
  for (const key of keys.map((each) => each.trim())) {
    if (!present.has(bare(key))) await attach(key);
  }

  async function attach(key: string): Promise<void> {
    for (let left = TRIES - 1; ; left -= 1) {
      try {
        await attachOnce(key);
        return;
      } catch (error) {
        if (left === 0 || signal.aborted || !(error instanceof ProviderError) || error.kind !== 'unavailable') throw error;
      }
      await clock.sleep(PAUSE_MS, signal).catch((cause: unknown) => {
        throw failure({ operation: OPERATION, kind: 'unavailable', why: 'cancelled', cause });
      });
    }
  }

  async function attachOnce(key: string): Promise<void> {
    const answer = await client.attachKey(id, key, { operation: OPERATION, signal });
    const said = read(answer);
    if (saysNoSuchInstance(said)) {
      throw failure({ operation: OPERATION, kind: 'rejected', why: 'the instance does not exist', said });
    }
    const body = SuccessAnswer.safeParse(answer.json);
    if (answer.status >= 200 && answer.status < 300 && body.success && body.data.success !== false) return;
    throw refused(answer, { operation: OPERATION, endpoint: 'attachKey', otherwise: 'unavailable' });
  }
}

export interface KeysToDetach {
  readonly id: string;
  readonly keys: readonly string[];
  readonly client: Pick<VastClient, 'listKeys' | 'detachKey'>;
}

/** Takes back the keys that the market keeps for an instance, so that a reboot does not write them into it again. */
export async function detachKeys({ id, keys, client }: KeysToDetach, { signal }: CallOptions): Promise<void> {
  const unwanted = new Set(keys.map(bare));
  const listed = await client.listKeys(id, { operation: DETACH, signal });
  if (listed.status === 404) return; // none are kept
  for (const row of rowsIn(listed.json)) {
    if (row.keyId === undefined || !unwanted.has(bare(row.key))) continue;
    const answer = await client.detachKey(id, row.keyId, { operation: DETACH, signal });
    if (answer.status >= 200 && answer.status < 300) continue;
    if (answer.status === 404 || saysNoSuchInstance(read(answer))) continue; // gone already
    throw refused(answer, { operation: DETACH, endpoint: 'detachKey', otherwise: 'unavailable' });
  }
}

/** The keys that are there, as `type base64`; none when that cannot be read, which only costs an attach too many. */
async function presentKeys(
  { id, client, log }: Pick<KeysToAttach, 'id' | 'client' | 'log'>,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  try {
    const answer = await client.listKeys(id, { operation: OPERATION, signal });
    return new Set(rowsIn(answer.json).map(({ key }) => bare(key)));
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind === 'auth') throw error;
    log.debug({ instanceId: id, kind: error.kind }, 'vast.ai keys of an instance could not be read');
    return new Set();
  }
}

/** `ssh_keys` is the text of a list, or a list, or the list is the whole body. */
function rowsIn(body: unknown): readonly { readonly key: string; readonly keyId?: number }[] {
  const told: unknown = typeof body === 'object' && body !== null && 'ssh_keys' in body ? body.ssh_keys : body;
  const list: unknown = typeof told === 'string' ? parse(told) : told;
  if (!Array.isArray(list)) return [];
  return list.flatMap((row: unknown) => {
    const read = KeyRow.safeParse(row);
    const key = read.success ? (read.data.public_key ?? read.data.key) : undefined;
    if (key === undefined || key === null) return [];
    const keyId = read.success ? read.data.id : undefined;
    return [{ key, ...(keyId === undefined || keyId === null ? {} : { keyId }) }];
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the same as no list: the keys are attached again
  }
}

function bare(key: string): string {
  return key.trim().split(/\s+/, 2).join(' ');
}
