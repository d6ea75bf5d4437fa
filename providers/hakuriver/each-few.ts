/** How many rows are asked about at once, after a restart: the Host answers one after the other. */
const AT_ONCE = 8;

/** What `ask` answers for each, in their order. */
export async function eachFew<Row, Answer>(
  rows: readonly Row[],
  ask: (row: Row) => Promise<Answer>,
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (let first = 0; first < rows.length; first += AT_ONCE) {
    answers.push(...(await Promise.all(rows.slice(first, first + AT_ONCE).map(ask))));
  }
  return answers;
}
