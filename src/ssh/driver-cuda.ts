/** The CUDA version that each branch of NVIDIA's driver brought, by the branch's first release; those between two belong to the earlier. */
const CUDA_BY_BRANCH: readonly (readonly [branch: number, cuda: number])[] = [
  [410, 10.0],
  [418, 10.1],
  [440, 10.2],
  [450, 11.0],
  [455, 11.1],
  [460, 11.2],
  [465, 11.3],
  [470, 11.4],
  [495, 11.5],
  [510, 11.6],
  [515, 11.7],
  [520, 11.8],
  [525, 12.0],
  [530, 12.1],
  [535, 12.2],
  [545, 12.3],
  [550, 12.4],
  [555, 12.5],
  [560, 12.6],
  [565, 12.7],
  [570, 12.8],
  [575, 12.9],
  [580, 13.0],
  [590, 13.1],
];

/** The highest CUDA version that a driver serves, as `nvidia-smi` shows it in its head; undefined for one that is younger than the table, or no driver at all. */
export function cudaOfDriver(driver: string): number | undefined {
  const branch = Number(/^(\d{3,4})\./.exec(driver)?.[1] ?? Number.NaN);
  const last = CUDA_BY_BRANCH.at(-1)?.[0] ?? 0;
  if (Number.isNaN(branch) || branch > last) return undefined;
  return CUDA_BY_BRANCH.findLast(([first]) => first <= branch)?.[1];
}
