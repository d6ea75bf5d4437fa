import { describe, expect, it } from 'vitest';
import { loadConfig } from './load-config.ts';
import type { Variables } from './variables.ts';

function load(environment: Variables) {
  return loadConfig({ environment, dotenvText: undefined, modules: [] });
}

function faultsOf(environment: Variables): readonly string[] {
  const loaded = load(environment);
  return loaded.ok ? [] : loaded.faults;
}

describe('the settings of the tunnel', () => {
  it('have defaults that let nobody in from outside', () => {
    const loaded = load({});

    expect(loaded.ok && loaded.config.tunnel).toEqual({
      ports: { first: 22_000, last: 22_099 },
      host: '127.0.0.1',
      publicHost: undefined,
      maxConnections: 1_000,
      idleMs: 12 * 3_600_000,
      longestMs: 24 * 3_600_000,
    });
  });

  it.each([
    ['2200-2209', { first: 2_200, last: 2_209 }],
    ['2200 - 2209', { first: 2_200, last: 2_209 }],
    ['2200', { first: 2_200, last: 2_200 }],
  ])('read TUNNEL_PORTS=%s', (text, range) => {
    const loaded = load({ TUNNEL_PORTS: text });

    expect(loaded.ok && loaded.config.tunnel.ports).toEqual(range);
  });

  it.each(['22-99', '22099-22000', '22000-70000', '22000-', '22000,22001', 'all', '-1'])(
    'refuse TUNNEL_PORTS=%s by its name and with an example',
    (text) => {
      expect(faultsOf({ TUNNEL_PORTS: text })).toEqual([
        expect.stringMatching(/TUNNEL_PORTS.*range of TCP ports.*22000-22099/),
      ]);
    },
  );

  it.each([
    ['TUNNEL_HOST', 'here or there'],
    ['TUNNEL_PUBLIC_HOST', '-oProxyCommand=x'],
    ['TUNNEL_MAX_CONNECTIONS', '0'],
    ['TUNNEL_IDLE_TIMEOUT', '90'],
    ['TUNNEL_MAX_DURATION', 'for ever'],
  ])('refuse %s=%s by its name', (variable, text) => {
    expect(faultsOf({ [variable]: text })).toEqual([expect.stringContaining(variable)]);
  });

  it.each(['0.0.0.0', '::'])('ask what consumers shall be told where TUNNEL_HOST is %s', (host) => {
    expect(faultsOf({ TUNNEL_HOST: host })).toEqual([expect.stringMatching(/TUNNEL_HOST.*TUNNEL_PUBLIC_HOST=gpu.example.com/)]);
    expect(faultsOf({ TUNNEL_HOST: host, TUNNEL_PUBLIC_HOST: 'gpu.example.com' })).toEqual([]);
  });

  it('keep the port of the API out of the range', () => {
    expect(faultsOf({ SERVER_PORT: '22005' })).toEqual([expect.stringMatching(/TUNNEL_PORTS.*SERVER_PORT \(22005\)/)]);
  });
});
