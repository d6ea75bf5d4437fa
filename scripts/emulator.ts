import { parseArgs } from 'node:util';
import { startHakuRiverEmulator } from '../providers/hakuriver/emulator.ts';
import { startTensorDockEmulator } from '../providers/tensordock/emulator.ts';
import { startVastEmulator } from '../providers/vastai/emulator.ts';
import { systemClock } from '../src/core/clock.ts';

// `npx tsx scripts/emulator.ts vastai --port 0`: a vendor on loopback for trying things by hand; Ctrl-C ends it.

const USAGE = `usage: emulator vastai|tensordock|hakuriver [--port N] [--control-port N] [--seed N] [--strict] [--roulette] [--offers N]
                       [--speed N] [--scenario calm|default|stress]
                       hakuriver: [--proxy-port N] [--dialect P|S|H|K] [--auth]`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    'proxy-port': { type: 'string', default: '0' },
    dialect: { type: 'string', default: 'P' },
    auth: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    offers: { type: 'string' },
    speed: { type: 'string', default: '1' },
    scenario: { type: 'string', default: 'calm' },
    strict: { type: 'boolean', default: false },
    roulette: { type: 'boolean', default: false },
  },
});

const options = {
  clock: systemClock,
  seed: numberOf('seed'),
  port: numberOf('port'),
  controlPort: numberOf('control-port'),
  ...(values.offers !== undefined && { offers: numberOf('offers') }),
  speed: numberOf('speed'),
  scenario: values.scenario,
  mode: values.strict ? ('strict' as const) : ('lenient' as const),
  roulette: values.roulette,
};
const emulator = await startVendor(positionals[0]);

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void emulator.close().then(() => process.exit(0)));

/** Starts it, and prints where it is and what a broker of it is told. */
async function startVendor(vendor: string | undefined): Promise<{ close(): Promise<void> }> {
  switch (vendor ?? '') {
    case 'vastai': {
      const vastai = await startVastEmulator(options);
      const { url, controlUrl, apiKey } = vastai;
      console.log(JSON.stringify({ url, controlUrl, apiKey }));
      console.log(`VASTAI_BASE_URL=${url}\nVASTAI_API_KEY=${apiKey}`);
      return vastai;
    }
    case 'tensordock': {
      const tensordock = await startTensorDockEmulator(options);
      const { url, controlUrl, apiToken, authorizationId } = tensordock;
      console.log(JSON.stringify({ url, controlUrl, apiToken, authorizationId }));
      console.log(`TENSORDOCK_BASE_URL=${url}/api/v2`);
      console.log(`TENSORDOCK_AUTH_ID=${authorizationId}\nTENSORDOCK_API_TOKEN=${apiToken}`);
      return tensordock;
    }
    case 'hakuriver': {
      const hakuriver = await startHakuRiverEmulator({ ...options, ...clusterOptions() });
      const { url, proxyPort, controlUrl, dialect, tokens } = hakuriver;
      console.log(JSON.stringify({ url, proxyPort, controlUrl, dialect, ...(tokens && { tokens }) }));
      console.log(`HAKURIVER_HOST_URL=${url}\nHAKURIVER_SSH_PROXY=127.0.0.1:${proxyPort}`);
      return hakuriver;
    }
    default:
      console.error(USAGE);
      return process.exit(2);
  }
}

function clusterOptions() {
  const dialect = (['P', 'S', 'H', 'K'] as const).find((each) => each === values.dialect);
  if (dialect !== undefined) return { dialect, proxyPort: numberOf('proxy-port'), auth: values.auth };
  console.error(`--dialect must be P, S, H or K, not ${values.dialect}\n${USAGE}`);
  return process.exit(2);
}

function numberOf(name: 'seed' | 'port' | 'control-port' | 'proxy-port' | 'offers' | 'speed'): number {
  const value = Number(values[name]);
  if (Number.isFinite(value) && value >= 0) return value;
  console.error(`--${name} must be a number, not ${values[name]}\n${USAGE}`);
  return process.exit(2);
}
