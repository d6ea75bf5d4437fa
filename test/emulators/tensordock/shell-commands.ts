import type { VirtualDisk } from './virtual-disk.ts';

/** What a command reads; lines are taken one by one. */
export interface Input {
  text: string;
}

export interface Seat {
  readonly disk: VirtualDisk;
  readonly variables: Map<string, string>;
  readonly input: Input;
  print(text: string): void;
}

type Run = (args: readonly string[], seat: Seat) => number | boolean;

const isFlag = (text: string) => /^-[a-zA-Z]+$/.test(text) || text.startsWith('--');
const HOMES: Readonly<Record<string, string>> = { root: '/root', user: '/home/user' };

/** The commands that a start script needs to bring keys; by name. Any other is done silently and well. */
export const COMMANDS: Readonly<Record<string, Run>> = {
  true: () => true,
  ':': () => true,
  false: () => false,
  echo(args, { print }) {
    const [first, ...rest] = args;
    const words = first === '-n' || first === '-e' ? rest : args;
    // sh is dash there, whose echo reads escapes
    print(words.join(' ').replaceAll('\\n', '\n') + (first === '-n' ? '' : '\n'));
    return true;
  },
  printf([format = '', ...values], { print }) {
    const plain = format.replaceAll('\\n', '\n').replaceAll('\\t', '\t');
    const slots = plain.split(/%[sb]/).length - 1;
    let left = [...values];
    do {
      let index = 0;
      print(plain.replaceAll(/%[sb]|%%/g, (slot) => (slot === '%%' ? '%' : (left[index++] ?? ''))));
      left = left.slice(slots);
    } while (slots > 0 && left.length > 0);
    return true;
  },
  cat(args, { disk, input, print }) {
    const names = args.filter((each) => !isFlag(each));
    if (names.length === 0) print(take(input));
    const texts = names.map((name) => (name === '-' ? take(input) : disk.read(name)));
    for (const text of texts) print(text ?? '');
    return texts.every((text) => text !== undefined);
  },
  tee(args, { disk, input, print }) {
    const text = take(input);
    print(text);
    const how = args.includes('-a') ? 'append' : 'replace';
    return args.filter((each) => !isFlag(each)).every((name) => disk.write(name, text, how));
  },
  base64(args, { disk, input, print }) {
    const name = args.find((each) => !isFlag(each) && each !== '0');
    const text = name === undefined ? take(input) : disk.read(name);
    if (text === undefined) return false;
    const decodes = args.some((each) => each === '-d' || each === '--decode');
    print(decodes ? Buffer.from(text, 'base64').toString('utf8') : `${Buffer.from(text).toString('base64')}\n`);
    return true;
  },
  mkdir(args, { disk }) {
    const { flags, names, values } = split(args, ['-m']);
    const mode = values.get('-m');
    const done = names.every((name) => disk.makeFolder(name, flags.includes('p')));
    if (mode !== undefined) for (const name of names) changeMode(disk, name, mode);
    return done;
  },
  install(args, { disk }) {
    const { flags, names, values } = split(args, ['-m', '-o', '-g']);
    const target = names.at(-1) ?? '';
    const source = names.length > 1 ? disk.read(names[0] ?? '') : undefined;
    const done = flags.includes('d')
      ? names.every((name) => disk.makeFolder(name, true))
      : disk.write(target, source ?? '', 'replace');
    for (const name of flags.includes('d') ? names : [target]) {
      changeMode(disk, name, values.get('-m') ?? '755');
      changeOwner(disk, name, values.get('-o') ?? 'root');
    }
    return done;
  },
  touch: (args, { disk }) => args.filter((each) => !isFlag(each)).every((name) => disk.write(name, '', 'append')),
  rm(args, { disk }) {
    for (const name of args.filter((each) => !isFlag(each))) disk.remove(name);
    return true;
  },
  cp: (args, seat) => copy(args, seat, false),
  mv: (args, seat) => copy(args, seat, true),
  chmod([...args], { disk }) {
    const { flags, names } = split(args, []);
    const [mode = '', ...paths] = names;
    return everyPath(disk, paths, flags, (path) => changeMode(disk, path, mode));
  },
  chown([...args], { disk }) {
    const { flags, names } = split(args, []);
    const [owner = '', ...paths] = names;
    return everyPath(disk, paths, flags, (path) => changeOwner(disk, path, owner.split(':')[0] ?? ''));
  },
  grep(args, { disk, input, print }) {
    const { flags, names } = split(
      args.filter((each) => each !== '-e' && each !== '--'),
      [],
    );
    const [pattern = '', ...files] = names;
    const text = files.length === 0 ? take(input) : files.map((name) => disk.read(name) ?? '').join('');
    const expression = flags.includes('F') ? undefined : new RegExp(pattern, flags.includes('i') ? 'i' : '');
    const isHit = (line: string) =>
      flags.includes('x') && flags.includes('F') ? line === pattern : (expression?.test(line) ?? line.includes(pattern));
    const hits = text
      .split('\n')
      .slice(0, -1)
      .filter((line) => isHit(line) !== flags.includes('v'));
    if (!flags.includes('q')) print(hits.map((line) => `${line}\n`).join(''));
    return hits.length > 0;
  },
  cut(args, { input, print }) {
    const delimiter = /-d\s?(.)/.exec(args.join(' '))?.[1] ?? '\t';
    const field = Number(/-f\s?(\d+)/.exec(args.join(' '))?.[1] ?? 1);
    for (const line of take(input).split('\n').slice(0, -1)) print(`${line.split(delimiter)[field - 1] ?? ''}\n`);
    return true;
  },
  getent([, name = ''], { print }) {
    const home = HOMES[name];
    if (home === undefined) return 2;
    print(`${name}:x:${name === 'root' ? 0 : 1000}:${name === 'root' ? 0 : 1000}::${home}:/bin/bash\n`);
    return true;
  },
  id(args, { print }) {
    const name = args.find((each) => !isFlag(each)) ?? 'root';
    print(`${name === 'root' ? 0 : 1000}\n`);
    return HOMES[name] !== undefined;
  },
  whoami(_args, { print }) {
    print('root\n');
    return true;
  },
  read(args, { input, variables }) {
    const names = args.filter((each) => !isFlag(each));
    const end = input.text.indexOf('\n');
    const line = end < 0 ? input.text : input.text.slice(0, end);
    input.text = end < 0 ? '' : input.text.slice(end + 1);
    const [first = 'REPLY'] = names;
    variables.set(first, line);
    return end >= 0;
  },
  umask([mode = '022'], { disk }) {
    disk.umask = Number.parseInt(mode, 8);
    return true;
  },
  export(args, { variables }) {
    for (const each of args) {
      const [name = '', ...value] = each.split('=');
      if (each.includes('=')) variables.set(name, value.join('='));
    }
    return true;
  },
  test: (args, seat) => isTrue(args, seat),
  '[': (args, seat) => isTrue(args.slice(0, -1), seat),
};

function isTrue(args: readonly string[], seat: Seat): boolean {
  const or = args.indexOf('-o');
  if (or > 0) return isTrue(args.slice(0, or), seat) || isTrue(args.slice(or + 1), seat);
  const and = args.indexOf('-a');
  if (and > 0) return isTrue(args.slice(0, and), seat) && isTrue(args.slice(and + 1), seat);
  const [first = '', second, third] = args;
  if (first === '!') return !isTrue(args.slice(1), seat);
  if (second === '=' || second === '==') return first === third;
  if (second === '!=') return first !== third;
  if (second === '-eq') return Number(first) === Number(third);
  if (second === '-ne') return Number(first) !== Number(third);
  if (second === undefined) return first !== '';
  const entry = seat.disk.entry(second);
  if (first === '-n') return second !== '';
  if (first === '-z') return second === '';
  if (first === '-d') return entry !== undefined && entry.content === undefined;
  if (first === '-s') return (entry?.content ?? '') !== '';
  if (first === '-f') return entry?.content !== undefined;
  return entry !== undefined; // -e, -r, -w, -x, -L
}

function take(input: Input): string {
  const { text } = input;
  input.text = '';
  return text;
}

/** Flags as one text of letters, values of the flags that take one, and the rest. */
function split(args: readonly string[], valued: readonly string[]) {
  const names: string[] = [];
  const values = new Map<string, string>();
  let flags = '';
  for (let index = 0; index < args.length; index += 1) {
    const each = args[index] ?? '';
    const glued = valued.find((name) => each.startsWith(name) && each.length > name.length && /^-\w\w*\d+$/.test(each));
    if (valued.includes(each)) values.set(each, args[(index += 1)] ?? '');
    else if (glued !== undefined) values.set(glued, each.slice(glued.length));
    else if (isFlag(each)) flags += each.replace(/^-+/, '');
    else names.push(each);
  }
  return { flags, names, values };
}

function everyPath(disk: VirtualDisk, paths: readonly string[], flags: string, change: (path: string) => void): boolean {
  for (const path of paths) for (const each of flags.includes('R') ? disk.below(path) : [path]) change(each);
  return paths.every((path) => disk.entry(path) !== undefined);
}

function changeMode(disk: VirtualDisk, path: string, mode: string): void {
  const entry = disk.entry(path);
  if (entry === undefined) return;
  if (/^[0-7]+$/.test(mode)) entry.mode = Number.parseInt(mode, 8);
  else if (/^a?\+[rwxX]/.test(mode)) entry.mode |= 0o444 | (entry.content === undefined ? 0o111 : 0);
  else if (/^go?-|^go=$/.test(mode)) entry.mode &= 0o700;
}

function changeOwner(disk: VirtualDisk, path: string, owner: string): void {
  const entry = disk.entry(path);
  if (entry !== undefined && owner !== '') entry.owner = owner === '1000' ? 'user' : owner === '0' ? 'root' : owner;
}

function copy(args: readonly string[], { disk }: Seat, removes: boolean): boolean {
  const { flags, names } = split(args, []);
  const [from = '', to = ''] = names;
  const entry = disk.entry(from);
  if (entry === undefined) return false;
  const isIntoFolder = disk.entry(to) !== undefined && disk.entry(to)?.content === undefined;
  const target = isIntoFolder ? `${to}/${from.split('/').pop() ?? ''}` : to;
  const keeps = removes || flags.includes('p') || flags.includes('a');
  for (const path of disk.below(from)) {
    const inner = disk.entry(path);
    const place = target + path.slice(from.length);
    if (inner === undefined) continue;
    const done = inner.content === undefined ? disk.makeFolder(place, true) : disk.write(place, inner.content, 'replace');
    if (!done) return false;
    const made = disk.entry(place);
    if (made !== undefined && keeps) Object.assign(made, { owner: inner.owner, mode: inner.mode });
  }
  if (removes) disk.remove(from);
  return true;
}
