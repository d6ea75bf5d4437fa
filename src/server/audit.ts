import { closeSync, openSync, writeSync } from 'node:fs';
import { loadConfig } from '../config/load-config.ts';
import { readEnvironment } from '../config/read-environment.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import { isSessionId } from '../core/ids.ts';
import { auditRows, checkAudit, type AuditVerdict } from '../db/audit-check.ts';
import { openReadOnly, type ReadOnlyStore } from '../db/read-only-store.ts';
import { providerModules } from '../../providers/index.ts';

const HASH = /^[0-9a-f]{64}$/;
const EXIT_CONFIG = 78;
const EXIT_FAILURE = 1;

interface Terminal {
  readonly say: (line: string) => void;
  readonly complain: (line: string) => void;
}

export interface VerifyRequest extends Terminal {
  /** Only this session's chain. */
  readonly session?: string | undefined;
  /** The hash of a row of the installation's chain that was noted elsewhere: it has to be there. */
  readonly head?: string | undefined;
}

/** Checks the audit log of the configured database, also of a running broker's; hands back the exit code. */
export async function verifyAudit({ session, head, ...terminal }: VerifyRequest): Promise<number> {
  if (session !== undefined && !isSessionId(session)) {
    terminal.complain(`--session "${session}": must be the id of a session, such as GET /api/v1/sessions lists them`);
    return EXIT_CONFIG;
  }
  if (head !== undefined && !HASH.test(head)) {
    terminal.complain(`--head "${head}": must be a hash of 64 hexadecimal digits, as the controller audit.seal shows it`);
    return EXIT_CONFIG;
  }
  return withDatabase('audit verify', terminal, async (store) => {
    const question = { ...(session !== undefined && { chain: session }), ...(head !== undefined && { noted: head }) };
    const verdict = await checkAudit(auditRows(store, session), question);
    return tell(verdict, { session, ...terminal });
  });
}

function tell({ chains, rows, faults }: AuditVerdict, { session, say, complain }: VerifyRequest): number {
  const counted = `${chains} ${chains === 1 ? 'chain' : 'chains'}, ${rows} ${rows === 1 ? 'row' : 'rows'}`;
  for (const { chain, seq, what } of faults)
    complain(`BROKEN: chain ${chain}${seq === undefined ? '' : `, row ${seq}`}: ${what}`);
  if (faults.length > 0) {
    complain(`${counted}, ${faults.length} broken`);
    return EXIT_FAILURE;
  }
  if (rows === 0) {
    complain('the audit log is empty: no broker that keeps one has started on this database, or its rows were removed');
    return EXIT_FAILURE;
  }
  if (session !== undefined && chains < 2) {
    complain(`the audit log has no chain of session ${session}`);
    return EXIT_FAILURE;
  }
  say(`${counted}, all whole`);
  return 0;
}

/** Writes every row as a line of JSON into a new file; hands back the exit code. */
export async function exportAudit({ file, ...terminal }: Terminal & { readonly file: string }): Promise<number> {
  return withDatabase('audit export', terminal, async (store) => {
    const output = openSync(file, 'wx', 0o600);
    let rows = 0;
    try {
      for await (const { prevHash, ...row } of auditRows(store)) {
        writeSync(output, `${canonicalJson({ ...row, prev_hash: prevHash })}\n`);
        rows += 1;
      }
    } finally {
      closeSync(output);
    }
    terminal.say(`${rows} rows written to ${file}`);
    return 0;
  });
}

async function withDatabase(
  operation: string,
  { complain }: Terminal,
  act: (store: ReadOnlyStore) => Promise<number>,
): Promise<number> {
  const database = configuredDatabase(complain);
  if (!database) return EXIT_CONFIG;
  try {
    const store = await openReadOnly(database);
    try {
      return await act(store);
    } finally {
      await store.close();
    }
  } catch (error) {
    complain(`${operation} failed: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT_FAILURE;
  }
}

function configuredDatabase(complain: (line: string) => void) {
  try {
    const loaded = loadConfig({ ...readEnvironment(), modules: providerModules });
    if (loaded.ok) return loaded.config.database;
    for (const fault of loaded.faults) complain(fault);
  } catch (error) {
    complain(`.env cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return undefined;
}
