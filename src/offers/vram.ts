/** Sizes that cards are sold by, GB. */
const SOLD_SIZES_GB = [
  1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256, 288,
] as const;
/** How much smaller than its name a card may read: error correction takes a sixteenth of an L4, a T4 or an L40S. */
const SLACK = 1.07;

/**
 * The size a card is sold by, in GB, from the MiB that its driver shows: 24564 MiB is 24, and so is an L4's 23034.
 * What is near no size that is sold is rounded.
 */
export function soldVramGb(vramMib: number): number {
  const gib = vramMib / 1024;
  const size = SOLD_SIZES_GB.find((sold) => sold >= gib);
  return size !== undefined && gib * SLACK >= size ? size : Math.round(gib);
}

/** Whether a card is as large as was asked: by the size that it is sold by, so that 24 GB finds every 24 GB card and nothing that shows less. */
export function hasVram(vramMib: number, minVramMib: number): boolean {
  return soldVramGb(vramMib) * 1024 >= minVramMib;
}
