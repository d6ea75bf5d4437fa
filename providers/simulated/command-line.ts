/** One command of a line, and what has to be true of the one before for it to run. */
export interface Step {
  readonly when: 'always' | 'succeeded' | 'failed';
  readonly words: readonly string[];
  /** Ended with `&`. */
  readonly isInBackground: boolean;
}

/** Redirections that change nothing here are ignored; a line with anything else that only a real shell can do is undefined. */
export function parseCommandLine(line: string, variables: Readonly<Record<string, string>>): readonly Step[] | undefined {
  const steps: Step[] = [];
  let when: Step['when'] = 'always';
  let words: string[] = [];
  let word: string | undefined;
  const endWord = () => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  const endStep = (next: Step['when'], isInBackground = false) => {
    endWord();
    if (words.length > 0) steps.push({ when, words, isInBackground });
    words = [];
    when = next;
  };

  for (let rest = line; rest !== '';) {
    const token = TOKEN.exec(rest)?.groups;
    if (token === undefined) return undefined;
    const { blank, hash, single, double, escaped, variable, redirection, operator, plain } = token;
    if (blank !== undefined) endWord();
    else if (hash !== undefined && word === undefined) return finish();
    else if (hash !== undefined) word += hash;
    else if (single !== undefined) word = (word ?? '') + single.slice(1, -1);
    else if (double !== undefined) word = (word ?? '') + expand(double.slice(1, -1), variables);
    else if (escaped !== undefined) word = (word ?? '') + escaped.slice(1);
    else if (variable !== undefined) word = (word ?? '') + expand(variable, variables);
    else if (redirection !== undefined) endWord();
    else if (operator !== undefined)
      endStep(operator === '&&' ? 'succeeded' : operator === '||' ? 'failed' : 'always', operator === '&');
    else word = (word ?? '') + (plain ?? '');
    rest = rest.slice(token['all']?.length ?? rest.length);
  }
  return finish();

  function finish(): readonly Step[] {
    endStep('always');
    return steps;
  }
}

// Pipes, other redirections, substitutions, globs' brackets and here-documents match nothing: the line is refused as a whole.
const TOKEN =
  /^(?<all>(?<blank>[ \t]+)|(?<hash>#)|(?<single>'[^']*')|(?<double>"(?:[^"\\`$]|\\.|\$[A-Za-z_?{](?:[A-Za-z0-9_}]*))*")|(?<escaped>\\.)|(?<variable>\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\}|\?))|(?<redirection>2>(?:&1|\/dev\/null)(?=[\s;&]|$))|(?<operator>&&|\|\||[;\n&])|(?<plain>[^\s'"\\$`|&;<>()#]+))/;

function expand(text: string, variables: Readonly<Record<string, string>>): string {
  return text
    .replace(
      /\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*|\?))/g,
      (_all, braced?: string, bare?: string) => variables[braced ?? bare ?? ''] ?? '',
    )
    .replace(/\\(["\\$`])/g, '$1');
}
