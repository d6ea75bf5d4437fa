import { parseArgs } from 'node:util';
import { startVastEmulator } from '../providers/vastai/emulator.ts';
import { systemClock } from '../src/core/clock.ts';

// `npx tsx scripts/emulator.ts vastai --port 0`: a vendor on loopback for trying things by hand; Ctrl-C ends it.

const USAGE = `usage: emulator vastai [--port N] [--control-port N] [--seed N] [--strict] [--roulette] [--offers N]
                       [--speed N] [--scenario calm|default|stress]`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    offers: { type: 'string', default: '120' },
    speed: { type: 'string', default: '1' },
    scenario: { type: 'string', default: 'calm' },
    strict: { type: 'boolean', default: false },
    roulette: { type: 'boolean', default: false },
  },
});

if (positionals[0] !== 'vastai') {
  console.error(USAGE);
  process.exit(2);
}

const emulator = await startVastEmulator({
  clock: systemClock,
  seed: numberOf('seed'),
  port: numberOf('port'),
  controlPort: numberOf('control-port'),
  offers: numberOf('offers'),
  speed: numberOf('speed'),
  scenario: values.scenario,
  mode: values.strict ? 'strict' : 'lenient',
  roulette: values.roulette,
});
console.log(JSON.stringify({ url: emulator.url, controlUrl: emulator.controlUrl, apiKey: emulator.apiKey }));

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void emulator.close().then(() => process.exit(0)));

function numberOf(name: 'seed' | 'port' | 'control-port' | 'offers' | 'speed'): number {
  const value = Number(values[name]);
  if (Number.isFinite(value) && value >= 0) return value;
  console.error(`--${name} must be a number, not ${values[name]}\n${USAGE}`);
  return process.exit(2);
}
