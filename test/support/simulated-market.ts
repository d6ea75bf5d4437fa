/** A simulated market that is quick, with ports away from those of a market that somebody may be running here. */
export const QUICK_MARKET: Readonly<Record<string, string>> = {
  SIMULATED_CREATE_SECONDS: '0.2',
  SIMULATED_BOOT_SECONDS: '0.4',
  SIMULATED_DESTROY_SECONDS: '0.2',
  SIMULATED_PORTS: '24000-29999',
  LIFECYCLE_CHECK_INTERVAL: '1s',
  LIFECYCLE_RECONCILIATION_INTERVAL: '1s',
};
