/** Branches of the decisions that no world takes, and why: whoever makes worlds that do takes them out. */
export const NOT_TAKEN_HERE: readonly (readonly [where: RegExp, why: string])[] = [
  [/assertNever/, 'the type checker proves it'],
  [/preempted/, 'nobody bids'],
  [/tunnelOpened|tunnelAwaited|tunnel_opened/, 'every instance can be dialled'],
  [/dropAddress|moveAddress/, 'every instance keeps its address'],
  [/sampled|idleWarned|idle_warned/, 'nobody asks for an end when idle'],
  [/bootTimeoutMs/, 'no template asks for more time'],
  [/rateOf: const rule|rateBy: case"disk"/, 'the market has one way to bill'],
  [/no_capacity/, 'no attempt ends for want of capacity anywhere'],
  [
    /reasonOfRefusal: case"protocol"|createRefused: return createUnknown/,
    'a create that is not understood counts as unanswered',
  ],
  [/parseRecoveryState|recovery-mode parsed/, 'the database is of one build'],
  [/rollbackEvidence: (if\(newest|return`\$\{asked\}, after)/, 'no world lasts for the ninety days that rows are kept'],
  [/whoseIs: return attempt\.goneAcceptedAt/, 'the market tells when an instance was made'],
  [/sight: return missing/, "what is another's is told as missing by whoever looks"],
  [/(sight|seen|extend|proven): return;/, 'facts that come too late'],
  [/conclude: setSession\(draft,\{destroyVerifiedAt:null/, 'what comes back after the proof is told of its attempt'],
];
