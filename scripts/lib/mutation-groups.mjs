// What npm run mutate breaks (docs/mutation-testing.md): not the whole product, but what is pure and decides, counts or translates.

/**
 * mutate: the files, in which each small change is one mutant. tests: which have to notice it; few, since what a file makes as it is read (a
 * table, a constant) belongs to no test, and costs a run of all of them. least: the score in percent below which the run fails.
 */
export const groups = {
  decisions: {
    mutate: [
      'src/sessions/{step,sights,endings,absence,billing,terms,retry-rules,intent,invariants,draft,adoption,audit-entries,receipt,session-state}.ts',
      'src/provider/decorators/fenced.ts',
      'src/provider/ownership-tag.ts',
    ],
    tests: [
      'src/sessions/{absence,account-fault,adoption,audit-entries,billing,draft,intent,invariants,preemption,receipt,retry-rules,session-state,terms}.test.ts',
      'src/sessions/step{,-create,-destroy,-events,-late,-tunnel,-table}.test.ts',
      'src/provider/decorators/fenced.test.ts',
      'src/provider/ownership-tag.test.ts',
    ],
    least: 90,
  },
  money: {
    mutate: ['src/core/money.ts', 'src/costs/{bill,ledger,charge-verdict,spend-verdict}.ts'],
    tests: ['src/core/money.test.ts', 'src/costs/{bill,ledger-sums,charge-verdict,spend-verdict}.test.ts'],
    least: 90,
  },
  'mapping-vastai': {
    mutate: ['providers/vastai/{mapping,offers}.ts'],
    tests: ['providers/vastai/{mapping,offer-rows}.test.ts'],
    least: 80,
  },
  'mapping-tensordock': {
    mutate: ['providers/tensordock/{mapping,complaint,offers,offer-code,machine-size,gpu-model}.ts'],
    tests: ['providers/tensordock/{mapping,complaint,stock,offer-code,machine-size,gpu-model}.test.ts'],
    least: 80,
  },
  'mapping-hakuriver': {
    mutate: ['providers/hakuriver/{mapping,offers}.ts'],
    tests: ['providers/hakuriver/{mapping,room}.test.ts'],
    least: 80,
  },
};

/** The group of this run: the one that scripts/mutate.mjs names. */
export function mutationGroup() {
  const name = process.env['MUTATION_GROUP'] ?? 'decisions';
  return { name, ...groups[name] };
}
