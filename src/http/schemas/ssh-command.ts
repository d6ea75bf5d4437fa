import type { Session } from '../../db/tables.ts';

const USER = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;
const HOST = /^[A-Za-z0-9][A-Za-z0-9.:-]{0,253}$/;

/** What to paste into a shell to get in; undefined while nobody can, and for an address that a shell could read as something else. */
export function sshCommandOf({
  status,
  sshHost,
  sshPort,
  sshUser,
}: Pick<Session, 'status' | 'sshHost' | 'sshPort' | 'sshUser'>): string | undefined {
  if (status !== 'running' || sshHost === null || sshPort === null || sshUser === null) return undefined;
  return isPlainLogin({ user: sshUser, host: sshHost }) ? `ssh -p ${sshPort} ${sshUser}@${sshHost}` : undefined;
}

/** Whether a user and a host, which providers name, can stand in a command line or a configuration file and mean nothing else there. */
export function isPlainLogin({ user, host }: { readonly user: string; readonly host: string }): boolean {
  return USER.test(user) && HOST.test(host);
}
