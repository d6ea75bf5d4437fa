import { ID_PREFIXES } from '../../src/core/ids.ts';
import type { Ids } from '../../src/core/ids.ts';

/** The literal id of a kind and a count: `countedId('ses', 1)` is `ses_00000000000000000000000001`, valid by its form and in order. */
export function countedId<Prefix extends string>(prefix: Prefix, count: number): `${Prefix}_${string}` {
  return `${prefix}_${String(count).padStart(26, '0')}`;
}

/** Ids that count from 1, each kind by itself, so that a test can write them down. */
export function countedIds(): Ids {
  const counter = <Prefix extends string>(prefix: Prefix) => {
    let count = 0;
    return () => countedId(prefix, (count += 1));
  };
  return {
    session: counter(ID_PREFIXES.session),
    secret: counter(ID_PREFIXES.secret),
    request: counter(ID_PREFIXES.request),
    stray: counter(ID_PREFIXES.stray),
  };
}
