import type { Node } from './world.ts';

/** Strangers take cores and GPUs, all that there are unless said, without a row of the Host. */
export function occupyNode(node: Node, { cores, gpus }: { cores?: number; gpus?: readonly number[] } = {}): void {
  node.occupiedCores = cores ?? node.totalCores;
  for (const id of gpus ?? Array.from({ length: node.gpus?.count ?? 0 }, (_, index) => index)) node.occupiedGpus.add(id);
}

export function vacateNode(node: Node): void {
  node.occupiedCores = 0;
  node.occupiedGpus.clear();
}
