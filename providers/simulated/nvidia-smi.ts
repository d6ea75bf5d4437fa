import { createHash } from 'node:crypto';
import type { EpochMs } from '../../src/core/clock.ts';
import { CUDA_VERSION, DRIVER_VERSION } from './gpu-models.ts';

/** What the GPUs of an instance are and do, as far as `nvidia-smi` shows it. */
export interface GpuView {
  readonly instanceId: string;
  readonly smiName: string;
  readonly vramMib: number;
  readonly powerLimitWatts: number;
  readonly count: number;
  readonly utilisationPercent: number;
  readonly now: EpochMs;
}

export interface Printed {
  readonly code: number;
  readonly output: string;
}

/** The table, `-L`, or `--query-gpu=… --format=csv[,noheader[,nounits]]` with `-i`, as the real tool prints them. */
export function nvidiaSmi(args: readonly string[], view: GpuView): Printed {
  if (args.length === 0) return { code: 0, output: table(view) };
  if (args.length === 1 && (args[0] === '-L' || args[0] === '--list-gpus')) return { code: 0, output: list(view) };
  return query(args, view);
}

function query(words: readonly string[], view: GpuView): Printed {
  let fields: readonly string[] | undefined;
  let format: readonly string[] = [];
  let indexes = indexesOf(view);
  for (let at = 0; at < words.length; at += 1) {
    const [name, inline] = split(words[at] ?? '');
    const value = inline ?? words[(at += 1)] ?? '';
    if (name === '--query-gpu') fields = value.split(',').map((field) => field.trim());
    else if (name === '--format') format = value.split(',');
    else if (name === '-i' || name === '--id') indexes = value.split(',').map(Number);
    else return failed(`Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.`);
  }
  if (fields === undefined || format[0] !== 'csv')
    return failed('"--format=" switch is missing. Please run \'nvidia-smi -h\' for help.');
  if (indexes.some((index) => !indexesOf(view).includes(index))) return failed('No devices were found', 6);
  const columns = fields.map((name) => ({ name, column: COLUMNS[name] }));
  const unknown = columns.find(({ column }) => column === undefined);
  if (unknown) return failed(`Field "${unknown.name}" is not a valid field to query.`, 2);

  const hasUnits = !format.includes('nounits');
  const header = columns.map(({ name, column }) => (column?.unit && hasUnits ? `${name} [${column.unit}]` : name));
  const rows = indexes.map((index) =>
    columns.map(({ column }) => `${column?.read(view, index) ?? ''}${column?.unit && hasUnits ? ` ${column.unit}` : ''}`),
  );
  const lines = format.includes('noheader') ? rows : [header, ...rows];
  return { code: 0, output: lines.map((cells) => `${cells.join(', ')}\n`).join('') };
}

interface Column {
  readonly unit?: string;
  read(view: GpuView, index: number): string | number;
}

const NAME: Column = { read: (view) => view.smiName };
const UUID: Column = { read: uuidOf };
const TOTAL: Column = { unit: 'MiB', read: (view) => view.vramMib };

const COLUMNS: Readonly<Record<string, Column>> = {
  name: NAME,
  gpu_name: NAME,
  uuid: UUID,
  gpu_uuid: UUID,
  index: { read: (_view, index) => index },
  count: { read: (view) => view.count },
  driver_version: { read: () => DRIVER_VERSION },
  'memory.total': TOTAL,
  'memory.used': { unit: 'MiB', read: usedMib },
  'memory.free': { unit: 'MiB', read: (view) => view.vramMib - usedMib(view) },
  'utilization.gpu': { unit: '%', read: (view) => view.utilisationPercent },
  'utilization.memory': { unit: '%', read: (view) => Math.round(view.utilisationPercent / 2) },
  'temperature.gpu': { read: temperatureOf },
  'power.draw': { unit: 'W', read: (view) => wattsOf(view).toFixed(2) },
  'power.limit': { unit: 'W', read: (view) => view.powerLimitWatts.toFixed(2) },
  timestamp: {
    read: (view) =>
      new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium', timeZone: 'UTC' }).format(view.now),
  },
};

const RULE = `+${'-'.repeat(89)}+`;
const COLUMN_RULE = `+${[41, 24, 22].map((width) => '-'.repeat(width)).join('+')}+`;

function table(view: GpuView): string {
  const versions = [
    `NVIDIA-SMI ${DRIVER_VERSION}`.padEnd(34),
    `Driver Version: ${DRIVER_VERSION}`.padEnd(31),
    `CUDA Version: ${CUDA_VERSION}`,
  ];
  const rows = indexesOf(view).flatMap((index) => {
    const bus = `00000000:${(index + 1).toString(16).toUpperCase().padStart(2, '0')}:00.0 Off`;
    const watts = `${Math.round(wattsOf(view))}W / ${String(view.powerLimitWatts).padStart(4)}W`;
    const memory = `${usedMib(view)}MiB / ${String(view.vramMib).padStart(6)}MiB`;
    return [
      cells(`${String(index).padStart(3)}  ${view.smiName.slice(0, 26).padEnd(26)}      On`, bus, 'Off'.padStart(20)),
      cells(
        `N/A ${String(temperatureOf(view)).padStart(3)}C    P0   ${watts.padStart(22)}`,
        memory.padStart(22),
        `${String(view.utilisationPercent).padStart(6)}%      Default`,
      ),
      COLUMN_RULE,
    ];
  });
  const lines = [
    RULE,
    `| ${versions.join(' ').padEnd(87)} |`,
    COLUMN_RULE,
    cells('GPU  Name                 Persistence-M', 'Bus-Id          Disp.A', 'Volatile Uncorr. ECC'),
    cells('Fan  Temp   Perf          Pwr:Usage/Cap', '          Memory-Usage', 'GPU-Util  Compute M.'),
    COLUMN_RULE.replaceAll('-', '='),
    ...rows,
    `| ${'Simulated by Berth: there is no such GPU.'.padEnd(87)} |`,
    RULE,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function cells(...[left, middle, right]: [string, string, string]): string {
  return `| ${left.padEnd(39)} | ${middle.padEnd(22)} | ${right.padEnd(20)} |`;
}

function list(view: GpuView): string {
  return indexesOf(view)
    .map((index) => `GPU ${index}: ${view.smiName} (UUID: ${uuidOf(view, index)})\n`)
    .join('');
}

function indexesOf({ count }: GpuView): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function split(word: string): [string, string | undefined] {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

function failed(message: string, code = 1): Printed {
  return { code, output: `${message}\n` };
}

function usedMib(view: GpuView): number {
  return view.utilisationPercent > 20 ? Math.round(view.vramMib * 0.9) : 1;
}

function temperatureOf(view: GpuView): number {
  return 31 + Math.round(view.utilisationPercent * 0.4);
}

function wattsOf(view: GpuView): number {
  return view.powerLimitWatts * (0.08 + 0.0085 * view.utilisationPercent);
}

function uuidOf({ instanceId }: GpuView, index: number): string {
  const hex = createHash('sha256').update(`${instanceId}/${index}`).digest('hex');
  return `GPU-${[hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')}`;
}
