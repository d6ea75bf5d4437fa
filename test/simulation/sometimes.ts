import { FAILURE_REASONS, type EndReason, type FailureReason } from '../../src/sessions/session-state.ts';
import { FAULT_NAMES } from './faults.ts';

/** What the life cycle does in these worlds: the facts that were told, and changed something, and what came of them. */
const FACTS = [
  'stop_requested',
  'extended',
  'attempt_begun',
  'no_candidate',
  'create_accepted',
  'create_refused',
  'create_unknown',
  'seen',
  'missing',
  'destroy_answered',
  'destroy_failed',
  'proof_phase',
  'hand_off_begun',
  'proven',
  'attempt_failed',
  'settled',
  'postponed',
] as const;
const EVENTS = [
  'session.requested',
  'session.running',
  'session.extended',
  'session.retrying',
  'session.stopping',
  'session.stopped',
  'session.failed',
  'session.settled',
  'session.gone_verified',
  'attempt.begun',
  'attempt.refused',
  'attempt.unknown',
  'attempt.absent',
  'attempt.failed',
  'instance.created',
  'instance.vanished',
  'instance.reappeared',
  'instance.destroy_answered',
  'instance.destroy_failed',
  'instance.destroy_overdue',
  'instance.gone_accepted',
  'instance.gone_verified',
] as const;
/** Nobody bids here, addresses are all good, and drivers are up at once. */
const NOT_HERE: readonly FailureReason[] = ['preempted', 'ssh_address_refused', 'gpu_driver_timeout'];
const REASONS: readonly EndReason[] = [
  'user_requested',
  'expired',
  ...FAILURE_REASONS.filter((reason) => !NOT_HERE.includes(reason)),
];

/** What has to happen again and again in a run of many worlds, or it has shown nothing: every fault, fact, event and reason. */
export const SOMETIMES: readonly string[] = [
  ...FAULT_NAMES.map((name) => `fault ${name}`),
  ...FACTS.map((name) => `fact ${name}`),
  ...EVENTS.map((name) => `event ${name}`),
  ...REASONS.map((name) => `reason ${name}`),
];
