import { TypeID } from 'typeid-js';
import type { Clock, EpochMs } from './clock.ts';
import type { Random } from './random.ts';

/** Every kind of id of ours and its prefix: `ses_` and 26 lower-case base-32 characters, UUIDv7 inside, so that ids sort by time. */
export const ID_PREFIXES = { session: 'ses', secret: 'sec', request: 'req', stray: 'str' } as const;

export type SessionId = `ses_${string}`;
export type SecretId = `sec_${string}`;
export type RequestId = `req_${string}`;
export type StrayId = `str_${string}`;

/** Makes ids; handed in, so that tests count them. */
export interface Ids {
  session(): SessionId;
  secret(): SecretId;
  request(): RequestId;
  stray(): StrayId;
}

export function createIds({ clock, random }: { clock: Pick<Clock, 'now'>; random: Pick<Random, 'bytes'> }): Ids {
  const make = <Prefix extends string>(prefix: Prefix): `${Prefix}_${string}` =>
    // holds because TypeID prints its prefix, an underscore and its suffix
    TypeID.fromUUIDBytes(prefix, uuidV7(clock.now(), random.bytes(10))).toString() as `${Prefix}_${string}`;
  return {
    session: () => make('ses'),
    secret: () => make('sec'),
    request: () => make('req'),
    stray: () => make('str'),
  };
}

/** Whether a text is a session id by its form: the prefix and 26 characters of Crockford's base 32. */
export function isSessionId(text: string): text is SessionId {
  return /^ses_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text);
}

/** When a session id was made, by the clock of the broker that made it: UUIDv7 begins with it. */
export function madeAt(id: SessionId): EpochMs {
  const bytes = TypeID.fromString(id).toUUIDBytes();
  return bytes.subarray(0, 6).reduce((ms, byte) => ms * 256 + byte, 0);
}

/** RFC 9562 section 5.7: 48 bits of milliseconds, version, variant, the rest random. */
function uuidV7(now: number, random: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(now) << 16n);
  bytes.set(random.subarray(0, 10), 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return bytes;
}
