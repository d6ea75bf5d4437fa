import { OpenApi } from './schema.ts';

/**
 * Which of the three a Host speaks. `seed`: package hakuriver up to 0.3.0, VPS by `/submit`, keys in `command`. `rewrite`: HakuRiver 0.4.0, VPS by
 * `/vps/create`, and nothing of what is sent there comes back. `kohaku`: KohakuRiver, the same below `/api`, with a name.
 */
export type Generation = 'seed' | 'rewrite' | 'kohaku';

export interface Dialect {
  readonly generation: Generation;
  /** Before each path of the Host; a proxy may put `/api` before the older ones, too. */
  readonly prefix: '' | '/api';
}

interface ProbeAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Undefined when no Host answers there. `get` throws for what is no answer, and for a refusal or a failure of the server. */
export async function probeDialect(get: (path: string) => Promise<ProbeAnswer>): Promise<Dialect | undefined> {
  for (const prefix of ['', '/api'] as const) {
    const nodes = await get(`${prefix}/nodes`);
    if (nodes.status !== 200 || !Array.isArray(nodes.body)) continue;
    if (prefix === '/api' && (await get('/api/auth/status')).status === 200) return { generation: 'kohaku', prefix };
    const { body } = await get(`${prefix}/openapi.json`);
    const paths = OpenApi.safeParse(body).data?.paths ?? {};
    if (Object.hasOwn(paths, '/vps/create')) return { generation: 'rewrite', prefix };
    if (Object.hasOwn(paths, '/vps/status')) return { generation: 'seed', prefix };
    return undefined;
  }
  return undefined;
}
