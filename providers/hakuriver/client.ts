import type { Clock } from '../../src/core/clock.ts';
import { SECOND_MS } from '../../src/core/duration.ts';
import type { Log } from '../../src/core/log.ts';
import type { Secret } from '../../src/core/secret.ts';
import {
  createHttpClient,
  HttpFailure,
  kindOfHttpFailure,
  retryAfterMs,
  type HttpAnswer,
  type HttpRequest,
} from '../../src/provider/http-client.ts';
import { parseLenientList, type LenientList } from '../../src/provider/lenient-list.ts';
import { ProviderError, type ProviderErrorKind, type ProviderOperation } from '../../src/provider/provider-error.ts';
import { probeDialect, type Dialect } from './dialect.ts';
import { explain, failure, read, saysNoSuchTask, type Said } from './mapping.ts';
import { parseJson } from './parse-json.ts';
import { NodeRow, TaskRow } from './schema.ts';

/** For whatever the Host answers from its database. */
const READ_TIMEOUT_MS = 15 * SECOND_MS;
/** A create blocks until the machine has loaded the image and started the container; Node gives up on an answer after 300 s. */
export const CREATE_TIMEOUT_MS = 290 * SECOND_MS;

/** The later versions give the newest hundred unless told otherwise; the seed's gives all. */
const MOST_TASKS = '1000';

export interface Call {
  /** On whose behalf: decides what a failure means. */
  readonly operation: ProviderOperation;
  readonly signal: AbortSignal;
}

/** An answer of whatever status. */
export interface Answer {
  readonly status: number;
  /** The body as JSON, its large numbers as text; undefined when it is none. */
  readonly body: unknown;
  readonly said: Said;
}

/** The Host's routes. Nothing but ProviderErrors is thrown. */
export interface HakuClient {
  dialect(call: Call): Promise<Dialect>;
  nodes(call: Call): Promise<LenientList<NodeRow>>;
  /** Every VPS that there ever was, or a throw. */
  vps(call: Call): Promise<readonly TaskRow[]>;
  /** Those that are not closed: in the seed's version the only place that tells a port. */
  activeVps(call: Call): Promise<readonly TaskRow[]>;
  /** Command tasks, as far as they can be read: they use GPUs, too. */
  tasks(call: Call): Promise<readonly TaskRow[]>;
  /** Undefined when no row has the id. */
  task(id: string, call: Call): Promise<TaskRow | undefined>;
  /** Asks for a VPS. `beforeSending` throws when it must not be sent any more. */
  create(order: unknown, call: Call & { readonly beforeSending: () => void }): Promise<Answer>;
  /** Asks for the end of a VPS; what is closed already, or not known, is no error. */
  stop(id: string, call: Call): Promise<'asked' | 'closed'>;
  /** What the Host's own route keeps of a stopped VPS, in the versions that have such. */
  deleteSnapshots(id: string, call: Call): Promise<void>;
  /** The names of the environments that the Host has a tarball of. */
  environments(call: Call): Promise<readonly string[]>;
}

export interface HakuClientDeps {
  /** With or without /api at its end. */
  readonly baseUrl: URL;
  /** `Bearer` and the token. */
  readonly authorization?: Secret<string>;
  readonly allowPlainHttp: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export function createHakuClient({ baseUrl, authorization, allowPlainHttp, clock, log }: HakuClientDeps): HakuClient {
  const shared = {
    baseUrl: rootOf(baseUrl),
    clock,
    ...(authorization && { credentials: { authorization } }),
    allowPlainHttp,
    // the Host drops idle connections without a word, and what was written on one is then lost or not: nobody knows
    freshConnections: true,
  };
  const http = createHttpClient({ ...shared, timeoutMs: READ_TIMEOUT_MS });
  const patient = createHttpClient({ ...shared, timeoutMs: CREATE_TIMEOUT_MS });
  let known: Dialect | undefined;

  async function send(request: Omit<HttpRequest, 'signal'>, { operation, signal }: Call, isCreate = false): Promise<Answer> {
    const answer = await (isCreate ? patient : http).send({ ...request, signal }).catch((thrown: unknown) => {
      if (!(thrown instanceof HttpFailure)) throw thrown;
      // only the create call itself leaves it open what became of it
      const kind = kindOfHttpFailure(thrown, isCreate ? 'CreateInstance' : 'GetInstanceStatus');
      throw failure({ operation, kind: soften(kind, { operation, isCreate }), why: thrown.message, cause: thrown });
    });
    const body = parseJson(answer.text);
    const said = read({ status: answer.status, body });
    if (said.status === 429) throw tooMany(answer, said, operation);
    return { status: answer.status, body, said };
  }

  function tooMany(answer: HttpAnswer, said: Said, operation: ProviderOperation): ProviderError {
    const waitMs = retryAfterMs(answer, clock.now());
    return failure({
      operation,
      kind: 'rate_limited',
      why: 'too many requests; nothing was done',
      said,
      ...(waitMs !== undefined && { retryAfterMs: waitMs }),
    });
  }

  async function dialect(call: Call): Promise<Dialect> {
    if (known) return known;
    const found = await probeDialect(async (path) => {
      const answer = await send({ method: 'GET', path }, call);
      if (answer.status === 401 || answer.status === 403 || answer.status >= 500) throw refused(answer, call);
      return answer;
    });
    if (found === undefined) {
      const why = 'nothing there answers like a HakuRiver Host; is HAKURIVER_HOST_URL its address?';
      throw failure({ operation: call.operation, kind: soften('protocol', { operation: call.operation }), why });
    }
    known = found;
    log.info({ provider: 'hakuriver', ...found }, 'hakuriver host recognised');
    return found;
  }

  async function get(path: string, call: Call, query: HttpRequest['query'] = {}): Promise<Answer> {
    const { prefix } = await dialect(call);
    const answer = await send({ method: 'GET', path: `${prefix}${path}`, query }, call);
    // a route that was there and is not: the Host may be another version by now
    if (answer.status === 404 && !saysNoSuchTask(answer.said)) known = undefined;
    return answer;
  }

  async function getList(path: string, call: Call, query?: HttpRequest['query']): Promise<readonly unknown[]> {
    const answer = await get(path, call, query);
    if (answer.status !== 200 || !Array.isArray(answer.body)) throw refused(answer, call);
    return answer.body;
  }

  /** A row that is left out is a machine declared dead, so that one that cannot be read fails the whole list. */
  async function getRows(path: string, call: Call): Promise<readonly TaskRow[]> {
    const { operation } = call;
    return (await getList(path, call)).map((row) => {
      const parsed = TaskRow.safeParse(row);
      if (parsed.success) return parsed.data;
      throw failure({
        operation,
        kind: soften('protocol', { operation }),
        why: 'the list has a row that cannot be read',
      });
    });
  }

  return {
    dialect,
    nodes: async (call) => parseLenientList(await getList('/nodes', call), NodeRow),
    vps: (call) => getRows('/vps', call),
    activeVps: (call) => getRows('/vps/status', call),
    tasks: async (call) => parseLenientList(await getList('/tasks', call, { limit: MOST_TASKS }), TaskRow).rows,

    async task(id, call) {
      const answer = await get(`/status/${encodeURIComponent(id)}`, call);
      if (saysNoSuchTask(answer.said)) return undefined;
      const row = TaskRow.safeParse(answer.body);
      if (answer.status !== 200 || !row.success) throw refused(answer, call);
      if (row.data.task_id === id) return row.data;
      throw failure({ operation: call.operation, kind: 'protocol', why: 'the answer is about another task' });
    },

    async create(order, call) {
      const { generation, prefix } = await dialect(call);
      call.beforeSending();
      const path = `${prefix}${generation === 'seed' ? '/submit' : '/vps/create'}`;
      const answer = await send({ method: 'POST', path, body: order }, call, true);
      if (answer.status === 404 || answer.status === 405) known = undefined;
      return answer;
    },

    async stop(id, call) {
      const { generation, prefix } = await dialect(call);
      const path = `${prefix}${generation === 'seed' ? '/kill' : '/vps/stop'}/${encodeURIComponent(id)}`;
      const answer = await send({ method: 'POST', path }, call);
      if (answer.status >= 200 && answer.status < 300 && answer.said.isJson) return 'asked';
      if (saysNoSuchTask(answer.said) || answer.status === 409) return 'closed';
      throw refused(answer, call, 'unavailable');
    },

    async deleteSnapshots(id, call) {
      const { generation, prefix } = await dialect(call);
      if (generation !== 'seed') {
        await send({ method: 'DELETE', path: `${prefix}/vps/snapshots/${encodeURIComponent(id)}` }, call);
      }
    },

    async environments(call) {
      const { body } = await get('/docker/list', call);
      return typeof body === 'object' && body !== null && !Array.isArray(body) ? Object.keys(body) : [];
    },
  };
}

/** The error for an answer that is no success; `otherwise` is what it means when no rule knows its words. */
function refused({ said }: Answer, { operation }: Call, otherwise: 'protocol' | 'unavailable' = 'protocol'): ProviderError {
  // the words of a create's refusals are for the create call; whatever is read before it is read like anything else
  const refusal = explain(said, operation === 'CreateInstance' ? 'GetInstanceStatus' : operation);
  const kind = soften(refusal?.kind ?? otherwise, { operation });
  return failure({ operation, kind, why: refusal?.why ?? 'the answer cannot be read', said });
}

/** Before a create was sent nothing was made, however unreadable the answer to a question may be. */
function soften(
  kind: ProviderErrorKind,
  { operation, isCreate = false }: { readonly operation: ProviderOperation; readonly isCreate?: boolean },
): ProviderErrorKind {
  return operation === 'CreateInstance' && !isCreate && kind === 'protocol' ? 'unavailable' : kind;
}

/** `http://host:8000/api/` and `http://host:8000` are the same Host. */
function rootOf(baseUrl: URL): URL {
  const root = new URL(baseUrl);
  root.pathname = root.pathname.replace(/\/+$/, '').replace(/\/api$/, '');
  return root;
}
