import { diskPerHour, priceSplit } from './prices.ts';
import type { Contract, World } from './world.ts';

const UNREPORTED_MS = 4_000;
const CREATED_MS = 9_000;

/** What the host last said of the container; null until it has said anything. */
export function actualStatus(world: World, contract: Contract): string | null {
  if (contract.override !== undefined) return contract.override;
  switch (contract.phase) {
    case 'booting': {
      const sinceMs = world.now() - contract.createdAt;
      if (sinceMs < UNREPORTED_MS) return null;
      return sinceMs < CREATED_MS ? 'created' : 'loading';
    }
    case 'running':
      return 'running';
    case 'stopping':
      return 'running';
    case 'stopped':
      return 'exited';
    case 'failed':
      return 'created';
  }
}

function statusText(world: World, contract: Contract): string | null {
  const status = actualStatus(world, contract);
  if (status === null) return null;
  if (status !== 'loading') return contract.statusMessage ?? '';
  const part = Math.min(1, (world.now() - contract.phaseSince) / Math.max(1, contract.bootMs));
  return `Pulling layers ${Math.floor(part * 19)}/19\n`;
}

/** GPU percent of the last heartbeat: null before the first, frozen when the host is offline. */
export function gpuLoad(world: World, contract: Contract): number | null {
  const { heartbeatMs, load } = world.knobs;
  if (contract.phase !== 'running') return null;
  const until = contract.override === undefined ? world.now() : (contract.frozenAt ?? world.now());
  const beats = Math.floor((until - contract.phaseSince) / heartbeatMs);
  return beats < 1 ? null : (load[(beats - 1) % load.length] ?? null);
}

/** One contract as the single read and the list have it. */
export function instanceRow(world: World, contract: Contract): Record<string, unknown> {
  const { machine, gpus } = contract;
  const { gpu } = machine;
  const memory = world.shapes.gpuMemory === 'driver' ? gpu.mib : gpu.roundMib;
  const disk = diskPerHour(contract.diskGb, machine.storageCost);
  const total = contract.gpuPerHour + disk;
  const load = gpuLoad(world, contract);
  const whenBeating = <T>(value: T): T | null => (load === null ? null : value);
  const optional = <T>(value: T): T | null => (world.knobs.everyOptionalNull ? null : value);
  const skewedNow = world.now() + world.knobs.clockSkewMs;
  const isUnknown = world.knobs.unknownStatusShare > 0 && world.random.next() < world.knobs.unknownStatusShare;
  const ssh = contract.runtype.startsWith('args') ? undefined : contract.ssh?.ports;
  return {
    id: contract.id,
    machine_id: machine.id,
    host_id: machine.hostId,
    bundle_id: contract.bundleId,
    label: contract.label,
    actual_status: isUnknown ? 'defrosting' : actualStatus(world, contract),
    intended_status: contract.intended,
    cur_state: contract.current,
    next_state: contract.isQueued ? 'running' : contract.current,
    status_msg: statusText(world, contract),
    ssh_host: ssh === undefined ? null : '127.0.0.1',
    ssh_port: ssh?.proxy ?? null,
    ssh_idx: '7',
    machine_dir_ssh_port: 40_022,
    public_ipaddr: world.shapes.addressNewline ? '127.0.0.1\n' : '127.0.0.1',
    local_ipaddrs: optional('192.168.1.20 172.17.0.1'),
    ...portsOf(world, contract),
    direct_port_count: contract.ports.size,
    direct_port_start: -1,
    direct_port_end: -1,
    image_uuid: contract.image,
    image_runtype: contract.runtype,
    image_args: [],
    extra_env: contract.env,
    onstart: contract.onstart,
    jupyter_token: 'f00d0synthetic',
    template_id: null,
    template_hash_id: contract.templateHash,
    template_name: null,
    gpu_name: gpu.name,
    num_gpus: gpus.length,
    gpu_ram: memory,
    gpu_util: load,
    gpu_temp: whenBeating(61),
    cpu_util: whenBeating(12.4),
    mem_usage: whenBeating(9.7),
    mem_limit: whenBeating(62.8),
    vmem_usage: whenBeating(17.9),
    disk_space: contract.diskGb,
    disk_util: load === null ? -1 : 0.315,
    disk_usage: load === null ? -1 : contract.diskGb * 0.315,
    inet_up: machine.inet.up,
    inet_down: machine.inet.down,
    inet_up_billed: null,
    inet_down_billed: null,
    dph_base: contract.gpuPerHour,
    dph_total: total,
    min_bid: machine.floorPerGpu * gpus.length,
    is_bid: contract.isBid,
    storage_cost: machine.storageCost,
    storage_total_cost: disk,
    inet_up_cost: machine.inet.upCost,
    inet_down_cost: machine.inet.downCost,
    search: priceSplit(contract.gpuPerHour, disk),
    instance: priceSplit(contract.gpuPerHour, disk),
    start_date: (contract.createdAt + world.knobs.clockSkewMs) / 1_000,
    end_date: machine.endAt / 1_000,
    duration: Math.max(0, (machine.endAt - skewedNow) / 1_000),
    uptime_mins: contract.phase === 'running' ? (world.now() - contract.phaseSince) / 60_000 : null,
    reliability2: machine.reliability,
    cuda_max_good: machine.cuda,
    driver_version: optional(machine.driver),
    geolocation: machine.geolocation,
    country_code: machine.geolocation?.slice(-2) ?? null,
    verification: machine.verification,
    rentable: false,
    client_run_time: 0.97,
    host_run_time: 2_592_000,
    credit_balance: null,
    credit_discount: null,
    credit_discount_max: 0.4,
    external: false,
    time_remaining: '',
    time_remaining_isbid: '',
    volume_info: null,
  };
}

/** Docker's map with text ports, and three ways to have none. */
function portsOf(world: World, contract: Contract): { ports?: unknown } {
  if (contract.phase !== 'running') {
    if (contract.phase !== 'booting') return { ports: {} };
    const { portsBeforeRunning } = world.shapes;
    return portsBeforeRunning === 'absent' ? {} : { ports: portsBeforeRunning === 'null' ? null : {} };
  }
  const entries = [...contract.ports].map(([name, hostPort]) => {
    const port = String(name === '22/tcp' ? (contract.ssh?.ports.direct ?? hostPort) : hostPort);
    const binding = ['0.0.0.0', '::'].map((HostIp) => ({ HostIp, HostPort: port }));
    return [name, binding] as const;
  });
  return { ports: Object.fromEntries(entries) };
}
