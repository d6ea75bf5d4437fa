import { dialableNode } from './environment.ts';
import type { Call, HakuClient } from './client.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import type { NodeRow } from './schema.ts';

/** Where the machines of the cluster are. */
export interface Machines {
  /** Takes in what the Host says of them. */
  note(rows: readonly NodeRow[]): void;
  /** The address of a machine's Runner; undefined where it is not known, or is none that we could dial. */
  urlOf(hostname: string | undefined, call: Call): Promise<URL | undefined>;
  /** Whether the Host hears the machine now; undefined where that cannot be found out. */
  isOnline(hostname: string | undefined, call: Call): Promise<boolean | undefined>;
}

interface MachinesDeps {
  readonly client: Pick<HakuClient, 'nodes'>;
  readonly baseUrl: URL;
}

export function createMachines({ client, baseUrl }: MachinesDeps): Machines {
  const urls = new Map<string, string | undefined>();

  function note(rows: readonly NodeRow[]): void {
    for (const { hostname, url } of rows) urls.set(hostname, url);
  }

  /** What cannot be found out is not known. */
  async function look(call: Call): Promise<readonly NodeRow[]> {
    try {
      const { rows } = await client.nodes(call);
      note(rows);
      return rows;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      return [];
    }
  }

  return {
    note,
    async isOnline(hostname, call) {
      const status = (await look(call)).find((row) => row.hostname === hostname)?.status;
      return status === undefined ? undefined : status === 'online';
    },
    async urlOf(hostname, call) {
      if (hostname === undefined) return undefined;
      if (!urls.has(hostname)) await look(call);
      return dialableNode(urls.get(hostname), baseUrl);
    },
  };
}
