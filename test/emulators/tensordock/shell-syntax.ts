/** A piece of a word; what is quoted is never split into several words. */
export type Part =
  | { readonly kind: 'text'; readonly text: string; readonly isQuoted: boolean }
  | { readonly kind: 'variable'; readonly name: string; readonly fallback?: string; readonly isQuoted: boolean }
  | { readonly kind: 'substitution'; readonly script: Script; readonly isQuoted: boolean };
export type Word = readonly Part[];

export interface Redirect {
  readonly fd: number;
  readonly kind: '>' | '>>' | '<' | '<<' | '>&';
  readonly target: Word;
}

export type Command = { readonly redirects: Redirect[] } & (
  | { readonly kind: 'simple'; readonly assignments: (readonly [string, Word])[]; readonly words: Word[] }
  | { readonly kind: 'if'; readonly branches: { readonly when: Script; readonly body: Script }[]; readonly otherwise: Script }
  | { readonly kind: 'for'; readonly name: string; readonly words: readonly Word[]; readonly body: Script }
  | { readonly kind: 'while'; readonly when: Script; readonly body: Script; readonly isUntil: boolean }
  | { readonly kind: 'case'; readonly word: Word; readonly branches: { readonly patterns: Word[]; readonly body: Script }[] }
  | { readonly kind: 'group'; readonly body: Script; readonly isSubshell: boolean }
);

/** One pipeline, and after which outcome of the one before it runs. */
export interface Step {
  readonly after: 'any' | 'success' | 'failure';
  readonly isNegated: boolean;
  isBackground: boolean;
  readonly commands: readonly Command[];
}
export type Script = readonly Step[];

type Token =
  | { readonly kind: 'word'; readonly word: Word }
  | { readonly kind: 'operator'; readonly text: string }
  | { readonly kind: 'redirect'; readonly redirect: Omit<Redirect, 'target'>; target?: Word };

const OPERATORS = ['&&', '||', ';;', ';', '|', '&', '(', ')', '\n'];
const ENDINGS = new Set(['then', 'elif', 'else', 'fi', 'do', 'done', 'esac', '}', ')', ';;']);

/** A real shell could run it; this one cannot. Its user is told, since a script that is half run would look like the vendor's fault. */
export class UnsupportedShell extends Error {}

/** The part of the POSIX shell that start scripts use. Throws `SyntaxError` for what is no shell, `UnsupportedShell` for what it does not know. */
export function parseShell(source: string): Script {
  const tokens = tokenize(source);
  let place = 0;

  const operatorAt = (text: string) => {
    const token = tokens[place];
    return token?.kind === 'operator' && token.text === text;
  };
  const keywordAt = () => {
    const token = tokens[place];
    if (token?.kind === 'operator' && (token.text === ')' || token.text === ';;')) return token.text;
    const [part, second] = token?.kind === 'word' ? token.word : [];
    return part?.kind === 'text' && !part.isQuoted && second === undefined ? part.text : undefined;
  };
  const skipBreaks = () => {
    while (operatorAt('\n') || operatorAt(';')) place += 1;
  };
  const expectKeyword = (text: string) => {
    skipBreaks();
    if (keywordAt() !== text) throw new SyntaxError(`shell: ${text} is missing`);
    place += 1;
  };
  const script = (): Script => {
    const steps: Step[] = [];
    let after: Step['after'] = 'any';
    for (;;) {
      skipBreaks();
      const keyword = keywordAt();
      if (place >= tokens.length || (keyword !== undefined && ENDINGS.has(keyword))) return steps;
      steps.push(pipeline(after));
      after = operatorAt('&&') ? 'success' : operatorAt('||') ? 'failure' : 'any';
      const last = steps.at(-1);
      if (last !== undefined) last.isBackground = operatorAt('&');
      if (after !== 'any' || operatorAt('&')) place += 1;
    }
  };
  const pipeline = (after: Step['after']): Step => {
    const isNegated = keywordAt() === '!';
    if (isNegated) place += 1;
    const commands = [command()];
    while (operatorAt('|')) {
      place += 1;
      while (operatorAt('\n')) place += 1;
      commands.push(command());
    }
    return { after, isNegated, isBackground: false, commands };
  };
  const command = (): Command => withRedirects(operatorAt('(') ? group(')') : (compound(keywordAt()) ?? simple()));
  const withRedirects = (made: Command): Command => {
    for (let token = tokens[place]; token?.kind === 'redirect'; token = tokens[(place += 1)])
      made.redirects.push({ ...token.redirect, target: token.target ?? [] });
    return made;
  };
  const group = (end: '}' | ')'): Command => {
    place += 1;
    const body = script();
    expectKeyword(end);
    return { kind: 'group', body, isSubshell: end === ')', redirects: [] };
  };
  const compound = (keyword: string | undefined): Command | undefined => {
    switch (keyword ?? '') {
      case '{':
        return group('}');
      case 'if':
        return conditional();
      case 'while':
      case 'until': {
        place += 1;
        const when = script();
        return { kind: 'while', when, body: block(), isUntil: keyword === 'until', redirects: [] };
      }
      case 'for':
        return loop();
      case 'case':
        return choice();
      case 'function':
      case '[[':
      case 'select':
        throw new UnsupportedShell(`the shell of this emulator knows no ${keyword}`);
      default:
        return undefined;
    }
  };
  const conditional = (): Command => {
    const branches: { when: Script; body: Script }[] = [];
    do {
      place += 1;
      const when = script();
      expectKeyword('then');
      branches.push({ when, body: script() });
    } while (keywordAt() === 'elif');
    const hasElse = keywordAt() === 'else';
    if (hasElse) place += 1;
    const otherwise = hasElse ? script() : [];
    expectKeyword('fi');
    return { kind: 'if', branches, otherwise, redirects: [] };
  };
  const loop = (): Command => {
    place += 1;
    const name = keywordAt() ?? '';
    place += 1;
    const words: Word[] = [];
    if (keywordAt() === 'in') {
      place += 1;
      for (let token = tokens[place]; token?.kind === 'word'; token = tokens[(place += 1)]) words.push(token.word);
    }
    return { kind: 'for', name, words, body: block(), redirects: [] };
  };
  const choice = (): Command => {
    const token = tokens[(place += 1)];
    place += 1;
    expectKeyword('in');
    const branches: { patterns: Word[]; body: Script }[] = [];
    for (skipBreaks(); keywordAt() !== 'esac' && place < tokens.length; skipBreaks()) {
      const patterns: Word[] = [];
      for (let part = tokens[place]; part !== undefined && keywordAt() !== ')'; part = tokens[(place += 1)])
        if (part.kind === 'word') patterns.push(part.word);
      place += 1;
      branches.push({ patterns, body: script() });
      if (operatorAt(';;')) place += 1;
    }
    expectKeyword('esac');
    return { kind: 'case', word: token?.kind === 'word' ? token.word : [], branches, redirects: [] };
  };
  const block = (): Script => {
    expectKeyword('do');
    const body = script();
    expectKeyword('done');
    return body;
  };
  const simple = (): Command => {
    const assignments: (readonly [string, Word])[] = [];
    const words: Word[] = [];
    const redirects: Redirect[] = [];
    for (let token = tokens[place]; token !== undefined && token.kind !== 'operator'; token = tokens[(place += 1)]) {
      if (token.kind === 'redirect') redirects.push({ ...token.redirect, target: token.target ?? [] });
      else {
        const assignment = words.length === 0 ? assignmentIn(token.word) : undefined;
        if (assignment === undefined) words.push(token.word);
        else assignments.push(assignment);
      }
    }
    if (words.length === 1 && operatorAt('(')) throw new UnsupportedShell('the shell of this emulator knows no functions');
    if (assignments.length + words.length + redirects.length === 0) throw new SyntaxError('shell: a command is missing');
    return { kind: 'simple', assignments, words, redirects };
  };

  const parsed = script();
  if (place < tokens.length) throw new SyntaxError(`shell: unexpected ${keywordAt() ?? 'word'}`);
  return parsed;
}

function assignmentIn([first, ...rest]: Word): readonly [string, Word] | undefined {
  if (first?.kind !== 'text' || first.isQuoted) return undefined;
  const [, name, value = ''] = /^([A-Za-z_]\w*)=([^]*)$/.exec(first.text) ?? [];
  return name === undefined ? undefined : [name, [{ kind: 'text', text: value, isQuoted: false }, ...rest]];
}

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  const awaitsText: { end: string; isRaw: boolean; token: Token & { kind: 'redirect' } }[] = [];
  let at = 0;
  const addRedirect = (redirect: Omit<Redirect, 'target'>) => {
    const token: Token & { kind: 'redirect' } = { kind: 'redirect', redirect };
    while (source[at] === ' ' || source[at] === '\t') at += 1;
    const [word, end] = readWord(source, at);
    const quoted = word.some((part) => part.isQuoted);
    at = end;
    if (redirect.kind === '<<') awaitsText.push({ end: plainText(word), isRaw: quoted, token });
    else token.target = word;
    tokens.push(token);
  };
  while (at < source.length) {
    const rest = source.slice(at);
    const space = /^(?:[ \t]|\\\n)+|^#[^\n]*/.exec(rest)?.[0];
    if (space !== undefined) {
      at += space.length;
      continue;
    }
    const [, fd, kind] = /^(\d?)(>>|>&|<<-?|>|<)/.exec(rest) ?? [];
    if (kind !== undefined) {
      at += (fd ?? '').length + kind.length;
      const isInput = kind.startsWith('<');
      // holds because of the pattern: all that it lets through, less the dash
      addRedirect({
        fd: fd === '' || fd === undefined ? (isInput ? 0 : 1) : Number(fd),
        kind: kind.replace('-', '') as Redirect['kind'],
      });
      continue;
    }
    const operator = OPERATORS.find((text) => rest.startsWith(text));
    if (operator === undefined) {
      const [word, end] = readWord(source, at);
      at = end;
      tokens.push({ kind: 'word', word });
      continue;
    }
    at += operator.length;
    tokens.push({ kind: 'operator', text: operator });
    if (operator !== '\n') continue;
    for (const { end, isRaw, token } of awaitsText.splice(0)) {
      const lines = source.slice(at).split('\n');
      const last = lines.findIndex((line) => line.trim() === end);
      const text = lines
        .slice(0, last < 0 ? lines.length : last)
        .map((line) => `${line}\n`)
        .join('');
      at = Math.min(source.length, at + text.length + (last < 0 ? 0 : (lines[last] ?? '').length + 1));
      token.target = isRaw ? [{ kind: 'text', text, isQuoted: true }] : readQuoted(`${text}"`, 0)[0];
    }
  }
  return tokens;
}

function plainText(word: Word): string {
  return word.map((part) => (part.kind === 'text' ? part.text : '')).join('');
}

function readWord(source: string, from: number): readonly [Word, number] {
  const parts: Part[] = [];
  let at = from;
  let text = '';
  const flush = () => {
    if (text !== '') parts.push({ kind: 'text', text, isQuoted: false });
    text = '';
  };
  while (at < source.length) {
    const char = source[at] ?? '';
    if (/[\s;&|()<>]/.test(char)) break;
    if (char === '`') throw new UnsupportedShell('the shell of this emulator knows no backticks');
    if (char === "'") {
      const end = closing(source, at + 1, "'");
      flush();
      parts.push({ kind: 'text', text: source.slice(at + 1, end), isQuoted: true });
      at = end + 1;
    } else if (char === '"') {
      flush();
      const [inner, end] = readQuoted(source, at + 1);
      parts.push(...inner);
      at = end;
    } else if (char === '\\') {
      flush();
      if (source[at + 1] !== '\n') parts.push({ kind: 'text', text: source[at + 1] ?? '', isQuoted: true });
      at += 2;
    } else if (char === '$') {
      flush();
      const [part, end] = readDollar(source, at, false);
      parts.push(part);
      at = end;
    } else {
      text += char;
      at += 1;
    }
  }
  flush();
  return [parts, at];
}

/** What stands in double quotes, from after the first to after the last. */
function readQuoted(source: string, from: number): readonly [Part[], number] {
  const parts: Part[] = [];
  let text = '';
  let at = from;
  const flush = (isLast: boolean) => {
    if (text !== '' || (isLast && parts.length === 0)) parts.push({ kind: 'text', text, isQuoted: true });
    text = '';
  };
  for (;;) {
    const char = source[at];
    if (char === undefined) throw new SyntaxError('shell: a quote is not closed');
    if (char === '"') {
      flush(true);
      return [parts, at + 1];
    }
    if (char === '$') {
      flush(false);
      const [part, end] = readDollar(source, at, true);
      parts.push(part);
      at = end;
    } else if (char === '\\' && /["\\$`\n]/.test(source[at + 1] ?? '')) {
      text += source[at + 1] === '\n' ? '' : (source[at + 1] ?? '');
      at += 2;
    } else {
      text += char;
      at += 1;
    }
  }
}

function readDollar(source: string, from: number, isQuoted: boolean): readonly [Part, number] {
  const rest = source.slice(from);
  if (rest.startsWith('$((')) throw new UnsupportedShell('the shell of this emulator does not calculate');
  if (rest.startsWith('$(')) {
    const end = closingBracket(source, from + 2);
    return [{ kind: 'substitution', script: parseShell(source.slice(from + 2, end)), isQuoted }, end + 1];
  }
  const [all, braced, fallback, bare] = /^\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+|[?#@*]))/.exec(rest) ?? [];
  if (all === undefined) return [{ kind: 'text', text: '$', isQuoted }, from + 1];
  const part = { kind: 'variable', name: braced ?? bare ?? '', isQuoted, ...(fallback !== undefined && { fallback }) } as const;
  return [part, from + all.length];
}

function closing(source: string, from: number, quote: string): number {
  const end = source.indexOf(quote, from);
  if (end < 0) throw new SyntaxError('shell: a quote is not closed');
  return end;
}

function closingBracket(source: string, from: number): number {
  let depth = 1;
  for (let at = from; at < source.length; at += 1) {
    if (source[at] === "'") at = closing(source, at + 1, "'");
    else if (source[at] === '(') depth += 1;
    else if (source[at] === ')') depth -= 1;
    if (depth === 0) return at;
  }
  throw new SyntaxError('shell: a bracket is not closed');
}
