/**
 * A number in [0, 1) that depends on nothing but its arguments: the same world for the same seed, in whatever order it is asked.
 * Numbers are used as 32-bit integers.
 */
export function chanceOf(seed: number, what: string, first = 0, second = 0): number {
  let hash = mix(0x811c9dc5, seed);
  for (let at = 0; at < what.length; at += 1) hash = mix(hash, what.charCodeAt(at));
  hash = mix(mix(hash, first), second);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x01000193);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
}
