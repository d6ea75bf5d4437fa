/** Branches of the decisions that no world takes, and why: whoever makes worlds that do takes them out. */
export const NOT_TAKEN_HERE: readonly (readonly [where: RegExp, why: string])[] = [
  [/assertNever/, 'the type checker proves it'],
  [/preempted|return\.?goneAcceptedAt|floorOf|withMargin/, 'nobody bids'],
  [/tunnelOpened|tunnelAwaited|tunnel_opened|dropAddress|moveAddress/, 'every instance has one address, and keeps it'],
  [/sampled|idleWarned|idle_warned/, 'nobody asks for an end when idle'],
  [/bootTimeoutMs|rateOf: const rule|rateBy: case"disk"/, 'the market has one way to boot and to bill'],
  [
    /no_capacity|reasonOfRefusal: case"protocol"|createRefused: return createUnknown/,
    'a create that is not understood counts as unanswered',
  ],
  [/parseRecoveryState|recovery-mode parsed/, 'the database is of one build'],
  [/rollbackEvidence: (if\(newest|return`\$\{asked\}, after)/, 'no world lasts for the ninety days that rows are kept'],
  [/whoseIs: return attempt\.goneAcceptedAt/, 'the market tells when an instance was made'],
  [
    /sight: return missing|sight: return;|seen: return;|extend: return;|proven: return;/,
    'facts that came too late, by hand in the unit tests',
  ],
  [
    /conclude: setSession\(draft,\{destroyVerifiedAt:null/,
    'a session is settled once; what comes back later is told of its attempt',
  ],
  [/endings : \(\{ordinal\}\)/, 'a search in what is empty'],
];
