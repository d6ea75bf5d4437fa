/** The ids of all offers that the broker shows now, page by page. */
export async function listOfferIds(url: string, filter = ''): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const answer = await fetch(`${url}/api/v1/inventory?limit=1000&offset=${ids.length}&${filter}`);
    if (answer.status !== 200) throw new Error(`inventory answered ${answer.status}: ${await answer.text()}`);
    const { offers, total } = (await answer.json()) as { offers: { id: string }[]; total: number }; // the broker's own shape
    ids.push(...offers.map(({ id }) => id));
    if (offers.length === 0 || ids.length >= total) return ids;
  }
}
