import { SECOND_MS } from '../core/duration.ts';
import { toUsd, type MicroUsd } from '../core/money.ts';
import type { LabelGuard } from './label-values.ts';
import type { GaugeMaker } from './scraped-gauge.ts';

/** What may cost money although nobody wants it, or nobody knows whether it is there. */
const UNCONFIRMED_STATES = ['destroying', 'unknown'] as const;
const SPEND_STATES = ['matches', 'possible_leak', 'less', 'cannot_tell'] as const;

interface OrphansAlive {
  readonly provider: string;
  readonly count: number;
  readonly oldestAgeMs: number;
}

interface UnconfirmedInstances extends OrphansAlive {
  readonly state: (typeof UNCONFIRMED_STATES)[number];
  readonly microsPerHour: MicroUsd;
}

/** Where the gauges come from that say "something may be leaking"; read when somebody scrapes. */
export interface LeakSources {
  /** Attempts that are being destroyed, or whose create got no answer, by provider; ages are 0 where there is none. */
  unconfirmedInstances?(): Promise<readonly UnconfirmedInstances[]>;
  /** Instances under our tag that no row knows and that the last lists still showed. */
  orphansAlive?(): Promise<readonly OrphansAlive[]>;
  /** Closed attempts whose tag is still looked for. */
  tombstones?(): Promise<number>;
  /** What accounts spend beside what their known instances cost; of providers that tell their balance. */
  accountSpend?(): readonly {
    readonly provider: string;
    readonly state: (typeof SPEND_STATES)[number];
    /** Absent while there is no span of time to compare. */
    readonly microsPerHour?: { readonly expected: MicroUsd; readonly observed: MicroUsd };
  }[];
}

interface LeakGaugeDeps {
  readonly gauge: GaugeMaker;
  readonly providers: readonly string[];
  readonly providerLabel: LabelGuard;
}

export function addLeakGauges(sources: LeakSources, { gauge, providers, providerLabel }: LeakGaugeDeps): void {
  const { unconfirmedInstances, orphansAlive, tombstones, accountSpend } = sources;

  if (unconfirmedInstances) {
    const of = (about: { readonly name: string; readonly help: string }, valueOf: (row: UnconfirmedInstances) => number) =>
      gauge({ ...about, labelNames: ['provider', 'state'] }, async (unconfirmed) => {
        const rows = await unconfirmedInstances.call(sources);
        for (const provider of providers) for (const state of UNCONFIRMED_STATES) unconfirmed.set({ provider, state }, 0);
        for (const row of rows) unconfirmed.set({ provider: providerLabel(row.provider), state: row.state }, valueOf(row));
      });
    of(
      {
        name: 'gpu_instances_unconfirmed',
        help: 'Instances that may exist unwanted: being destroyed and not yet gone, or made by a create that got no answer (unknown).',
      },
      ({ count }) => count,
    );
    of(
      {
        name: 'gpu_instances_unconfirmed_usd_per_hour',
        help: 'What those cost an hour if they exist, US dollars: the rate that is billed now, of unknown ones the price that was offered.',
      },
      ({ microsPerHour }) => toUsd(microsPerHour),
    );
    of(
      {
        name: 'gpu_instances_unconfirmed_oldest_age_seconds',
        help: 'How long the oldest of those has been so, since the wish to destroy it or since the create; 0 when there is none.',
      },
      ({ oldestAgeMs }) => oldestAgeMs / SECOND_MS,
    );
  }
  if (orphansAlive) {
    const of = (about: { readonly name: string; readonly help: string }, valueOf: (row: OrphansAlive) => number) =>
      gauge({ ...about, labelNames: ['provider'] }, async (alive) => {
        const rows = await orphansAlive.call(sources);
        for (const provider of providers) alive.set({ provider }, 0);
        for (const row of rows) alive.set({ provider: providerLabel(row.provider) }, valueOf(row));
      });
    of(
      {
        name: 'gpu_orphans_alive',
        help: 'Instances that bear our tag, that no row knows, and that have not been seen to be gone.',
      },
      ({ count }) => count,
    );
    of(
      {
        name: 'gpu_orphans_oldest_age_seconds',
        help: 'How long ago the oldest of those was first seen; 0 when there is none.',
      },
      ({ oldestAgeMs }) => oldestAgeMs / SECOND_MS,
    );
  }
  if (tombstones) {
    gauge(
      {
        name: 'gpu_tombstones_watched',
        help: 'Closed attempts that are still watched: one whose tag is seen again is destroyed again.',
        labelNames: [],
      },
      async (watched) => watched.set(await tombstones.call(sources)),
    );
  }
  if (accountSpend) addSpendGauges(accountSpend.bind(sources), { gauge, providerLabel });
}

function addSpendGauges(
  accountSpend: NonNullable<LeakSources['accountSpend']>,
  { gauge, providerLabel }: Pick<LeakGaugeDeps, 'gauge' | 'providerLabel'>,
): void {
  const rate = (name: string, side: 'expected' | 'observed', help: string) =>
    gauge({ name, help, labelNames: ['provider'] }, (spend) => {
      for (const { provider, microsPerHour } of accountSpend())
        if (microsPerHour) spend.set({ provider: providerLabel(provider) }, toUsd(microsPerHour[side]));
    });
  rate(
    'gpu_account_spend_expected_usd_per_hour',
    'expected',
    'What all known instances of the account cost an hour, whoever pays, over the time that was compared last, US dollars.',
  );
  rate(
    'gpu_account_spend_observed_usd_per_hour',
    'observed',
    "By how much the account's balance fell an hour in the same time, US dollars.",
  );
  gauge(
    {
      name: 'gpu_account_spend_state',
      help: '1 for what the comparison of the two says, else 0: matches, possible_leak (more is spent), less, or cannot_tell (foreign instances, a top-up, too little time, an uneven fall, no answer).',
      labelNames: ['provider', 'state'],
    },
    (verdict) => {
      for (const { provider, state } of accountSpend())
        for (const each of SPEND_STATES)
          verdict.set({ provider: providerLabel(provider), state: each }, each === state ? 1 : 0);
    },
  );
  gauge(
    {
      name: 'gpu_account_possible_leak',
      help: '1 while the account spends more than all known instances cost, else 0. An account whose provider tells no balance has no series.',
      labelNames: ['provider'],
    },
    (leak) => {
      for (const { provider, state } of accountSpend())
        leak.set({ provider: providerLabel(provider) }, state === 'possible_leak' ? 1 : 0);
    },
  );
}
