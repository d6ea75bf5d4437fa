export interface DiskEntry {
  /** Undefined for a folder. */
  content: string | undefined;
  owner: string;
  mode: number;
}

/** The files of a virtual machine as far as its start touches them. Whoever acts may do everything; what they make is theirs. */
export interface VirtualDisk {
  umask: number;
  actor: string;
  entry(path: string): DiskEntry | undefined;
  read(path: string): string | undefined;
  /** False when the folder is missing. */
  write(path: string, content: string, how: 'replace' | 'append'): boolean;
  makeFolder(path: string, withParents: boolean): boolean;
  remove(path: string): void;
  /** All below a path, itself included. */
  below(path: string): string[];
  /** As the user, who is not root: every folder on the way must be open. */
  readAs(user: string, path: string): string | undefined;
}

export function createVirtualDisk(): VirtualDisk {
  const entries = new Map<string, DiskEntry>();
  const folder = (path: string, owner: string, mode: number) => entries.set(path, { content: undefined, owner, mode });
  for (const path of ['/', '/tmp', '/etc', '/etc/ssh', '/home', '/var', '/usr', '/usr/local', '/usr/local/bin', '/opt', '/dev'])
    folder(path, 'root', 0o755);
  folder('/root', 'root', 0o700);
  folder('/home/user', 'user', 0o750);
  const disk: VirtualDisk = {
    umask: 0o022,
    actor: 'root',
    entry: (path) => entries.get(clean(path)),
    read: (path) => entries.get(clean(path))?.content,
    write(path, content, how) {
      const name = clean(path);
      if (name.startsWith('/dev/')) return true;
      const old = entries.get(name);
      if (old !== undefined && old.content === undefined) return false;
      if (old !== undefined) old.content = how === 'append' ? (old.content ?? '') + content : content;
      else if (entries.get(parentOf(name))?.content !== undefined || !entries.has(parentOf(name))) return false;
      else entries.set(name, { content, owner: disk.actor, mode: 0o666 & ~disk.umask });
      return true;
    },
    makeFolder(path, withParents) {
      const name = clean(path);
      if (entries.has(name)) return withParents;
      if (!entries.has(parentOf(name)) && !(withParents && disk.makeFolder(parentOf(name), true))) return false;
      folder(name, disk.actor, 0o777 & ~disk.umask);
      return true;
    },
    remove(path) {
      for (const each of disk.below(path)) entries.delete(each);
    },
    below: (path) => [...entries.keys()].filter((each) => each === clean(path) || each.startsWith(`${clean(path)}/`)),
    readAs(user, path) {
      const name = clean(path);
      for (let above = parentOf(name); ; above = parentOf(above)) {
        if (!mayUse(entries.get(above), user, 0o1)) return undefined;
        if (above === '/') break;
      }
      return mayUse(entries.get(name), user, 0o4) ? entries.get(name)?.content : undefined;
    },
  };
  return disk;
}

function mayUse(entry: DiskEntry | undefined, user: string, bit: number): boolean {
  if (entry === undefined) return false;
  return user === 'root' || (entry.mode & (entry.owner === user ? bit << 6 : bit)) !== 0;
}

function clean(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return `/${parts.join('/')}`;
}

function parentOf(path: string): string {
  return clean(path.split('/').slice(0, -1).join('/'));
}
