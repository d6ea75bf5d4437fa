export interface GpuModel {
  readonly v0Name: string;
  readonly displayName: string;
  readonly smiName: string;
  /** As the driver tells it. */
  readonly mib: number;
  /** One GPU's middle price, $/h. */
  readonly price: number;
  /** GPUs of a usual host. */
  readonly sizes: readonly number[];
}

const m = (
  v0Name: string,
  displayName: string,
  smiName: string,
  mib: number,
  price: number,
  sizes: readonly number[],
): GpuModel => ({ v0Name, displayName, smiName, mib, price, sizes });

/** Names as the vendor writes them: `<model>-<bus>-<memory>gb`. */
export const GPU_MODELS: readonly GpuModel[] = [
  m('geforcertx4090-pcie-24gb', 'NVIDIA GeForce RTX 4090 PCIe 24GB', 'NVIDIA GeForce RTX 4090', 24_564, 0.37, [2, 4, 8]),
  m('l4-pcie-24gb', 'NVIDIA L4 PCIe 24GB', 'NVIDIA L4', 23_034, 0.3, [2, 4]),
  m('a100-pcie-80gb', 'NVIDIA A100 PCIe 80GB', 'NVIDIA A100 80GB PCIe', 81_920, 1.2, [2, 4]),
  m('h100-sxm5-80gb', 'NVIDIA H100 SXM5 80GB', 'NVIDIA H100 80GB HBM3', 81_559, 2.25, [8]),
  m('rtxa6000-pcie-48gb', 'NVIDIA RTX A6000 PCIe 48GB', 'NVIDIA RTX A6000', 49_140, 0.45, [2, 4, 8]),
  m('geforcertx3090-pcie-24gb', 'NVIDIA GeForce RTX 3090 PCIe 24GB', 'NVIDIA GeForce RTX 3090', 24_576, 0.2, [1, 2, 4]),
  m('rtxa4000-pcie-16gb', 'NVIDIA RTX A4000 PCIe 16GB', 'NVIDIA RTX A4000', 16_376, 0.11, [1, 2, 4]),
  m('v100-sxm2-16gb', 'NVIDIA V100 SXM2 16GB', 'Tesla V100-SXM2-16GB', 16_384, 0.2, [4, 8]),
  m('l40-pcie-48gb', 'NVIDIA L40 PCIe 48GB', 'NVIDIA L40', 46_068, 0.9, [2, 4]),
  m('h100-pcie-80gb', 'NVIDIA H100 PCIe 80GB', 'NVIDIA H100 PCIe', 81_559, 1.9, [1, 2]),
];
