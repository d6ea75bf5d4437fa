import type { Ask } from './market.ts';
import { round4 } from './market.ts';
import { diskPerHour, priceSplit } from './prices.ts';
import type { World } from './world.ts';

export type SearchType = 'on-demand' | 'bid';

/** One row of a search as the wire has it. Money follows `dph_total = dph_base + disk × storage_cost / 720`, unrounded. */
export function offerRow(world: World, ask: Ask, type: SearchType, allocatedGb: number): Record<string, unknown> {
  const { machine, gpus } = ask;
  const { gpu } = machine;
  const count = gpus.length;
  const fraction = count / machine.holders.length;
  const minBid = round4(machine.floorPerGpu * count);
  const base = type === 'bid' ? minBid : round4(machine.pricePerGpu * count);
  const disk = diskPerHour(allocatedGb, machine.storageCost);
  const total = base + disk;
  const memory = world.shapes.gpuMemory === 'driver' ? gpu.mib : gpu.roundMib;
  const nowSeconds = (world.now() + world.knobs.clockSkewMs) / 1_000;
  const endSeconds = machine.endAt / 1_000;
  const optional = <T>(value: T): T | null => (world.knobs.everyOptionalNull ? null : value);
  const ports = Math.floor(machine.directPorts * fraction);
  return {
    id: ask.id,
    ask_contract_id: ask.id,
    bundle_id: ask.bundleId,
    machine_id: machine.id,
    host_id: machine.hostId,
    gpu_name: gpu.name,
    num_gpus: count,
    gpu_frac: fraction,
    gpu_ram: memory,
    gpu_total_ram: memory * count,
    gpu_lanes: optional(16),
    gpu_mem_bw: optional(gpu.bandwidth),
    gpu_arch: optional('nvidia'),
    gpu_max_power: optional(gpu.watts),
    gpu_max_temp: optional(90),
    gpu_display_active: false,
    compute_cap: gpu.computeCap,
    cuda_max_good: machine.cuda,
    driver_version: optional(machine.driver),
    driver_vers: optional(driverNumber(machine.driver)),
    cpu_name: optional(machine.cpu.name),
    cpu_arch: optional('amd64'),
    cpu_cores: machine.cpu.cores,
    cpu_cores_effective: machine.cpu.cores === null ? null : machine.cpu.cores * fraction,
    cpu_ghz: optional(3.7),
    cpu_ram: machine.cpu.ramMb,
    has_avx: optional(1),
    mobo_name: optional('ROMED8-2T'),
    os_version: optional('22.04'),
    disk_space: round4(machine.diskGb * fraction),
    disk_bw: optional(3120),
    disk_name: optional('Samsung SSD 980 PRO'),
    pci_gen: optional(4),
    pcie_bw: optional(24.1),
    bw_nvlink: optional(0),
    inet_up: machine.inet.up,
    inet_down: machine.inet.down,
    inet_up_cost: machine.inet.upCost,
    inet_down_cost: machine.inet.downCost,
    internet_up_cost_per_tb: machine.inet.upCost * 1_024,
    internet_down_cost_per_tb: machine.inet.downCost * 1_024,
    dph_base: base,
    dph_total: total,
    dph_total_adj: total,
    min_bid: minBid,
    storage_cost: machine.storageCost,
    storage_total_cost: disk,
    vram_costperhour: optional(base / (memory * count)),
    discount_rate: optional(0.4),
    discounted_dph_total: total,
    credit_discount_max: optional(0.4),
    search: priceSplit(base, disk),
    instance: priceSplit(base, disk),
    reliability: machine.reliability,
    reliability2: machine.reliability,
    expected_reliability: optional(machine.reliability),
    reliability_mult: optional(0.97),
    verification: machine.verification,
    vericode: machine.verification === 'verified' ? 1 : 0,
    rentable: isRentable(ask, type),
    rented: machine.holders.some((holder) => holder.kind === 'contract'),
    is_bid: type === 'bid',
    external: world.shapes.externalAs === 'boolean' ? machine.isExternal : Number(machine.isExternal),
    hosting_type: machine.isDatacenter ? 1 : optional(0),
    static_ip: optional(machine.directPorts > 0),
    public_ipaddr: optional(machine.address),
    direct_port_count: ports,
    geolocation: machine.geolocation,
    geolocode: optional(4116),
    vms_enabled: false,
    is_vm_deverified: true,
    start_date: nowSeconds - 86_400.5,
    end_date: endSeconds,
    duration: Math.max(0, endSeconds - world.now() / 1_000),
    time_remaining: '',
    dlperf: optional(gpu.dlperf * count),
    dlperf_per_dphtotal: optional((gpu.dlperf * count) / total),
    total_flops: optional(gpu.tflops * count),
    flops_per_dphtotal: optional((gpu.tflops * count) / total),
    score: optional(((gpu.dlperf * count) / total) * machine.reliability),
    resource_type: 'gpu',
    cluster_id: null,
    avail_vol_ask_id: null,
    avail_vol_dph: null,
    avail_vol_size: null,
    hostname: null,
    webpage: null,
    logo: '/static/logos/vastai_small2.png',
    bundled_results: null,
    rn: 1,
  };
}

/** On demand takes GPUs from bids; a bid sees what is held as not rentable although it may be out-bid. */
export function isRentable({ machine, gpus }: Ask, type: SearchType): boolean {
  return gpus.every((index) => {
    const holder = machine.holders[index];
    return holder === undefined || holder.kind === 'free' || (type === 'on-demand' && holder.isBid);
  });
}

/** `570.133.07` → 570133007. */
function driverNumber(driver: string): number {
  const [major = 0, minor = 0, patch = 0] = driver.split('.').map(Number);
  return major * 1_000_000 + minor * 1_000 + patch;
}
