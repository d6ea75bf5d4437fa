import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { productFiles, root } from './source-files.ts';

// The linter keeps clock, chance, environment and console in their homes where a rule of its can see it (.oxlintrc.json).
// Here is what no rule of its can see: reading the time without naming `now`, and a detour over globalThis.

/** The faults of one source text, each as `line: what, and why not`. */
function faultsOf(file: string, source: string): readonly string[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const faults: string[] = [];
  const visit = (node: ts.Node): void => {
    const fault = faultAt(node);
    if (fault) faults.push(`${file}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${fault}`);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return faults;
}

function faultAt(node: ts.Node): string | undefined {
  if (ts.isNewExpression(node) && isGlobal(node.expression, 'Date') && (node.arguments?.length ?? 0) === 0) {
    return "new Date() reads the machine's clock; time is handed in: new Date(clock.now()), so that a simulation can move it";
  }
  if (ts.isCallExpression(node) && isGlobal(node.expression, 'Date')) {
    return "Date() reads the machine's clock; time is handed in: use clock.now()";
  }
  if (
    ts.isPropertyAccessExpression(node) &&
    isGlobal(node.expression, 'globalThis') &&
    /^(Date|Math|process|crypto|performance|AbortSignal)$/.test(node.name.text)
  ) {
    return `globalThis.${node.name.text} is a way round the rules for ${node.name.text}; name it plainly`;
  }
  return undefined;
}

function isGlobal(node: ts.Expression, name: string): boolean {
  return ts.isIdentifier(node) && node.text === name;
}

describe('homes of time, chance and environment', () => {
  const files = productFiles().filter((file) => file !== 'src/core/clock.ts');

  it('sees the product', () => {
    expect(files.length).toBeGreaterThan(15);
  });

  it('finds no reading of the clock, and no detour, outside them', () => {
    expect(files.flatMap((file) => faultsOf(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
  });

  it.each([
    'const a = new Date();',
    'const a = new Date;',
    'const a = Date();',
    'globalThis.process.env;',
    'globalThis.crypto.randomUUID();',
    'f(() => globalThis.Date.now());',
  ])('would find %s', (source) => {
    expect(faultsOf('planted.ts', source)).toHaveLength(1);
  });

  it.each([
    'const a = new Date(0);',
    'const a = new Date(clock.now()).toISOString();',
    '// new Date()',
    `const a = 'new Date()';`,
  ])('allows %s', (source) => {
    expect(faultsOf('planted.ts', source)).toEqual([]);
  });
});
