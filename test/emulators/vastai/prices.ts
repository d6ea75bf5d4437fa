/** A month of storage has 720 hours, exactly. */
const HOURS_A_MONTH = 720;

/** $/h for so many GB at a rate in $/GB·month. */
export function diskPerHour(diskGb: number, storageCost: number): number {
  return (diskGb * storageCost) / HOURS_A_MONTH;
}

/** The split that a search row and an instance record carry twice. */
export function priceSplit(gpuPerHour: number, disk: number) {
  const totalHour = gpuPerHour + disk;
  return {
    gpuCostPerHour: gpuPerHour,
    diskHour: disk,
    totalHour,
    discountTotalHour: 0,
    discountedTotalPerHour: totalHour,
  };
}
