import { HOUR_MS, MINUTE_MS } from '../core/duration.ts';
import { isLoopback } from './loopback.ts';
import { isInRange } from './port-range.ts';
import type { Config } from './config.ts';

/** The configuration as far as it could be read: what is at fault is missing. */
export type PartialConfig = {
  readonly [Section in keyof Config]?: { readonly [Field in keyof Config[Section]]?: Config[Section][Field] | undefined };
};

/** What no single variable can know: how they fit together. Rules about variables that are at fault already say nothing. */
export function faultsBetweenSettings(config: PartialConfig): readonly string[] {
  return [...accessFaults(config), ...reservationFaults(config), ...tunnelFaults(config)];
}

function accessFaults({ server, access }: PartialConfig): string[] {
  if (server?.host === undefined || access?.auth === undefined || access.keys === undefined) return [];
  const hasKeys = access.keys.length > 0;
  if (access.auth === 'none' && hasKeys) {
    return [
      'AUTH=none: API keys are configured, but nobody would be asked for one. Remove AUTH, or remove API_KEYS and API_KEYS_FILE',
    ];
  }
  if (hasKeys || access.auth === 'none' || isLoopback(server.host)) return [];
  return [
    `SERVER_HOST="${server.host}": other machines can reach this address, and nobody would be asked for a key. ` +
      'Set API_KEYS (example: API_KEYS=ci=<output of: openssl rand -hex 24>), or AUTH=none to leave it open on purpose, or SERVER_HOST=127.0.0.1',
  ];
}

function reservationFaults({ sessions, lifecycle }: PartialConfig): string[] {
  const { minReservationMinutes, defaultReservationHours } = sessions ?? {};
  const hardMaxHours = lifecycle?.hardMaxHours;
  if (minReservationMinutes === undefined || defaultReservationHours === undefined || hardMaxHours === undefined) return [];
  const faults: string[] = [];
  if (defaultReservationHours > hardMaxHours) {
    faults.push(
      `DEFAULT_RESERVATION_HOURS="${defaultReservationHours}": must not be longer than LIFECYCLE_HARD_MAX_HOURS (${hardMaxHours}). ` +
        `Example: DEFAULT_RESERVATION_HOURS=${hardMaxHours}`,
    );
  }
  if (defaultReservationHours * HOUR_MS < minReservationMinutes * MINUTE_MS) {
    faults.push(
      `MIN_RESERVATION_MINUTES="${minReservationMinutes}": must not be longer than DEFAULT_RESERVATION_HOURS (${defaultReservationHours} h). ` +
        `Example: MIN_RESERVATION_MINUTES=5`,
    );
  }
  return faults;
}

/** What all addresses of the machine are listened on by: no address that anybody could be told. */
const ANY_ADDRESS = ['0.0.0.0', '::'];

function tunnelFaults({ server, tunnel }: PartialConfig): string[] {
  const faults: string[] = [];
  const isUntold = tunnel !== undefined && Object.hasOwn(tunnel, 'publicHost') && tunnel.publicHost === undefined;
  if (isUntold && tunnel.host !== undefined && ANY_ADDRESS.includes(tunnel.host))
    faults.push(
      `TUNNEL_HOST="${tunnel.host}": listens on every address, but consumers have to be told one. ` +
        'Set TUNNEL_PUBLIC_HOST. Example: TUNNEL_PUBLIC_HOST=gpu.example.com',
    );
  if (tunnel?.ports !== undefined && server?.port !== undefined && isInRange(server.port, tunnel.ports))
    faults.push(
      `TUNNEL_PORTS="${tunnel.ports.first}-${tunnel.ports.last}": must not hold SERVER_PORT (${server.port}). ` +
        'Example: TUNNEL_PORTS=22000-22099',
    );
  return faults;
}
