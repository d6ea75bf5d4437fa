// Writes and reads of the SQLite store, beside bare commits on the same disk: npx tsx bench/store.ts [--rounds 3] [--ms 700]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/core/clock.ts';
import { createIds } from '../src/core/ids.ts';
import { generateSshKeyPair } from '../src/core/openssh-key-pair.ts';
import { systemRandom } from '../src/core/random.ts';
import { createInstallationRepository } from '../src/db/installation-repository.ts';
import { createOfferRepository } from '../src/offers/offer-repository.ts';
import { createSessionRepository } from '../src/sessions/session-repository.ts';
import { openBareCommits } from './support/bare-commits.ts';
import { decimals, median, medianRatio, whole } from './support/figures.ts';
import { describeMachine } from './support/machine.ts';
import { seededOffers } from './support/market.ts';
import { newSession } from './support/new-session.ts';
import { openScratchStore } from './support/open-scratch-store.ts';
import { withScratch } from './support/scratch.ts';
import { formatTable } from './support/table.ts';

const { values: settings } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, ms: { type: 'string', default: '700' } },
});
const rounds = Number(settings.rounds);
const roundMs = Number(settings.ms);

/** So many loops of one action at once, for so long; gives actions a second. */
async function perSecond(workers: number, action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  const loop = async () => {
    while (performance.now() - startedMs < roundMs) {
      await action();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: workers }, loop));
  return (count * 1_000) / (performance.now() - startedMs);
}

await withScratch(async (folder) => {
  const store = await openScratchStore(join(folder, 'berth.db'));
  const bare = openBareCommits(folder);
  const sessions = createSessionRepository(store);
  const offers = createOfferRepository(store);
  const installation = createInstallationRepository(store);
  const ids = createIds({ clock: systemClock, random: systemRandom });
  const [offer] = seededOffers(1);
  if (!offer) throw new Error('the simulated market is empty');
  const sshPublicKey = generateSshKeyPair().publicKey;
  let made = 0;
  let last = ids.session();

  const probe = () => installation.probeWrite();
  /** The transaction of a create: idempotency key looked up, then four rows. */
  const insertSession = async () => {
    const at = systemClock.now();
    const id = ids.session();
    made += 1;
    const claim = { offerId: `simulated:bench-${made}` as typeof offer.id, units: 1, sessionId: id, consumerId: 'bench', at };
    const { outcome } = await sessions.insert({
      session: newSession({ id, offer, at, sshPublicKey }),
      event: { sessionId: id, version: 1, kind: 'session.requested', at, data: { offer_id: offer.id } },
      idempotency: { consumerId: 'bench', key: id, bodyHash: id, sessionId: id, createdAt: at, expiresAt: at + 1_000_000 },
      secrets: [],
      beside: function* () {
        return (yield* offers.claim(claim)) !== undefined;
      },
    });
    if (outcome !== 'created') throw new Error(`a session was not stored: ${outcome}`);
    last = id;
  };
  const getSession = async () => {
    if (!(await sessions.find(last))) throw new Error('a stored session was not found');
  };

  const subjects: readonly { readonly name: string; readonly run: () => Promise<number> | number }[] = [
    { name: 'bare SQLite, one insert a commit', run: () => bare.run(roundMs) },
    { name: 'one-row write, 1 writer', run: () => perSecond(1, probe) },
    { name: 'one-row write, 8 writers', run: () => perSecond(8, probe) },
    { name: 'one-row write, 64 writers', run: () => perSecond(64, probe) },
    { name: 'session insert (4 rows), 1 writer', run: () => perSecond(1, insertSession) },
    { name: 'session insert (4 rows), 8 writers', run: () => perSecond(8, insertSession) },
    { name: 'session insert (4 rows), 64 writers', run: () => perSecond(64, insertSession) },
    { name: 'session get with its attempts', run: () => perSecond(1, getSession) },
  ];
  try {
    const figures = subjects.map((): number[] => []);
    console.log(`Store: ${rounds} rounds of ${roundMs} ms each, median\n${describeMachine()}\n`);
    await insertSession();
    for (let round = 0; round < rounds; round += 1)
      for (const [index, subject] of subjects.entries()) figures[index]?.push(await subject.run());
    const [comparison = []] = figures;
    const rows = subjects.map(({ name }, index) => {
      const values = figures[index] ?? [];
      return [name, whole(median(values)), decimals(1_000_000 / median(values), 0), decimals(medianRatio(values, comparison))];
    });
    console.log(formatTable(['what', 'a second', 'µs each', 'of bare'], rows));
    console.log(`\n${whole(made)} sessions were stored; load at the end ${describeMachine().match(/load [\d. ]+/)?.[0] ?? ''}`);
  } finally {
    bare.close();
    await store.close();
  }
});
