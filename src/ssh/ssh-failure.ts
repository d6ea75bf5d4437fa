/** Why an instance could not be reached by SSH; also the label `error_type` of gpu_ssh_verify_errors_by_type. */
export const SSH_FAILURE_KINDS = [
  'connection_refused',
  'timeout',
  'network_unreachable',
  'dns_failed',
  'auth_failed',
  'key_parse_failed',
  'command_failed',
  'connection_closed',
  'unknown',
] as const;

export type SshFailureKind = (typeof SSH_FAILURE_KINDS)[number];

/** Thrown inside this room; what leaves it is a value with the same kind and message. */
export class SshError extends Error {
  readonly kind: SshFailureKind;

  constructor(kind: SshFailureKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'SshError';
    this.kind = kind;
  }
}

/** The host answered, with another key than the one that is known to be its own. */
export class HostKeyRefused extends Error {
  readonly presentedKey: string;

  constructor(presentedKey: string) {
    super('the host presented another key than the one expected');
    this.name = 'HostKeyRefused';
    this.presentedKey = presentedKey;
  }
}

/** The address policy forbids to dial there. */
export class AddressRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AddressRefused';
  }
}

const KIND_BY_CODE: Readonly<Record<string, SshFailureKind>> = {
  ECONNREFUSED: 'connection_refused',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'network_unreachable',
  ENETUNREACH: 'network_unreachable',
  EHOSTDOWN: 'network_unreachable',
  ENETDOWN: 'network_unreachable',
  EADDRNOTAVAIL: 'network_unreachable',
  ENOTFOUND: 'dns_failed',
  EAI_AGAIN: 'dns_failed',
  EAI_FAIL: 'dns_failed',
  EAI_NODATA: 'dns_failed',
  ENODATA: 'dns_failed',
  ESERVFAIL: 'dns_failed',
  ECONNRESET: 'connection_closed',
  ECONNABORTED: 'connection_closed',
  EPIPE: 'connection_closed',
};

/** From an error of the system: a socket's or the resolver's. */
export function fromSystemError(thrown: unknown, operation: string): SshError {
  if (thrown instanceof SshError) return thrown;
  const code = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
  return new SshError(KIND_BY_CODE[code] ?? 'unknown', `${operation}: ${code === '' ? 'failed' : code}`, thrown);
}

// RFC 4253 section 11.1; the second is what sshd sends for "too many authentication failures".
const NO_MORE_AUTH_METHODS = 14;
const AUTH_CANCELLED = 13;
const PROTOCOL_ERROR = 2;

/**
 * From an error of ssh2. Only the server's own refusal of our key is `auth_failed`: a connection that is cut before or during login
 * is a booting sshd or a proxy in front of one, and says nothing about keys.
 */
export function fromSsh2Error(thrown: Error, phase: 'handshake' | 'login' | 'session'): SshError {
  const level = 'level' in thrown ? thrown.level : undefined;
  const code = 'code' in thrown ? thrown.code : undefined;
  if (level === 'client-authentication') return new SshError('auth_failed', 'login: the server refused the key', thrown);
  if (level === 'client-socket') return fromSystemError(thrown, `ssh ${phase}`);
  if (typeof code === 'number') {
    const isRefusal =
      code === NO_MORE_AUTH_METHODS || code === AUTH_CANCELLED || (code === PROTOCOL_ERROR && /auth/i.test(thrown.message));
    if (phase === 'login' && isRefusal) return new SshError('auth_failed', 'login: the server refused the key', thrown);
    return new SshError('connection_closed', `ssh ${phase}: the server disconnected`, thrown);
  }
  return new SshError('unknown', `ssh ${phase}: ${thrown.message.slice(0, 200)}`, thrown);
}
