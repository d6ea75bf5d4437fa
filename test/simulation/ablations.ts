import type { SessionId } from '../../src/core/ids.ts';
import { decorate, type DecorateDeps } from '../../src/provider/decorators/decorate.ts';
import type { InstanceId } from '../../src/provider/ids.ts';
import type { Instance } from '../../src/provider/instance.ts';
import { parseOwnershipTag, type DeploymentId } from '../../src/provider/ownership-tag.ts';
import type { Provider } from '../../src/provider/provider.ts';
import type { SessionRecord } from '../../src/sessions/session-record.ts';
import type { Beside, SessionRepository } from '../../src/sessions/session-repository.ts';
import type { Transition } from '../../src/sessions/step.ts';
import type { ReplicaDeps } from '../support/replica.ts';
import { FAR_OFF } from '../support/provider-calls.ts';
import type { PlanOptions } from './faults.ts';

/** Brokers without one of the rules of the life cycle: a world has to show what the rule is good for. */
export interface Ablation {
  readonly rule: string;
  readonly without: string;
  /** What its worlds abound in; without it they are like any other. */
  readonly rates?: PlanOptions['rates'];
  readonly apply: (deps: ReplicaDeps) => ReplicaDeps;
}

export const ABLATIONS: readonly Ablation[] = [
  {
    rule: 'R1',
    without: 'the attempt is written with the answer to its create, not before the call',
    apply: (deps) => withSessions(deps, withLateIntents),
  },
  {
    rule: 'R6',
    without: 'one absence is believed',
    apply: (deps) => ({
      ...deps,
      providers: deps.providers.map((provider) => ({
        ...provider,
        capabilities: {
          ...provider.capabilities,
          absence: { observations: 1, spacingMs: 0, windowMs: 0, kinds: ['get'] },
        },
      })),
    }),
  },
  { rule: 'R7', without: 'a list that lacks what is held alive is believed', apply: trustingLists },
  {
    rule: 'R7 (blind lists)',
    without: 'the same, where lists are often empty for long and looks deny',
    rates: { 'list.blind': 0.2, 'get.denies': 0.2 },
    apply: trustingLists,
  },
  {
    rule: 'R8',
    without: 'a destroy that was answered is not looked after',
    apply: (deps) => ({ ...deps, providers: deps.providers.map(trustedWithDestroys) }),
  },
  {
    rule: 'R9',
    without: 'what was believed gone is not looked for any more',
    apply: (deps) => ({
      ...deps,
      remade: {
        ...deps.remade,
        observer: (made, { sessions }) => ({
          async list(...asked) {
            const listing = await made.list(...asked);
            const instances: Instance[] = [];
            for (const instance of listing.instances) {
              const tag = instance.tag === undefined ? undefined : parseOwnershipTag(instance.tag)?.tag;
              const attempt = tag && (await sessions.findByTag(tag));
              if (attempt === undefined || attempt.state !== 'gone') instances.push(instance);
            }
            return { ...listing, instances };
          },
        }),
      },
    }),
  },
  {
    rule: 'R10',
    without: 'a deployment whose id begins with ours is taken for ours',
    apply: (deps) => ({
      ...deps,
      providers: deps.providers.map((provider) => relabelled(provider, (tag) => withOurPrefix(tag, deps.deploymentId))),
    }),
  },
  {
    rule: 'R11 (compare-and-set)',
    without: 'who writes last wins',
    apply: (deps) => withSessions(deps, lastWriterWins),
  },
  {
    rule: 'R11 (deadline)',
    without: 'a create is sent however late',
    apply: (deps) => ({ ...deps, remade: { ...deps.remade, decorate: withoutFence } }),
  },
];

/** Under whatever the world has put before the repository. */
function withSessions(deps: ReplicaDeps, change: (made: SessionRepository) => SessionRepository): ReplicaDeps {
  const { sessions = (made: SessionRepository) => made } = deps.remade ?? {};
  return { ...deps, remade: { ...deps.remade, sessions: (made) => sessions(change(made)) } };
}

/** What is written late dies with the process; until then it shows it to itself. */
function withLateIntents(made: SessionRepository): SessionRepository {
  const late = new Map<SessionId, { before: SessionRecord; transition: Transition; beside: Beside | undefined }>();
  return {
    ...made,
    async find(id) {
      const kept = late.get(id);
      return kept ? after(kept.before, kept.transition) : made.find(id);
    },
    async save(before, transition, beside) {
      const { id } = transition.session;
      const kept = late.get(id);
      if (kept) {
        late.delete(id);
        const outcome = await made.save(kept.before, kept.transition, kept.beside);
        return outcome === 'saved' ? made.save(before, transition, beside) : outcome;
      }
      const isIntent = transition.attempts.some(
        ({ state, ordinal }) => state === 'intent' && before.attempts.every((each) => each.ordinal !== ordinal),
      );
      if (!isIntent) return made.save(before, transition, beside);
      late.set(id, { before, transition, beside });
      return 'saved';
    },
  };
}

function after(before: SessionRecord, { session, attempts, events }: Transition): SessionRecord {
  const version = before.session.version + Math.max(1, events.length);
  return structuredClone({ session: { ...session, version }, attempts });
}

function lastWriterWins(made: SessionRepository): SessionRepository {
  return {
    ...made,
    async save(before, transition, beside) {
      const outcome = await made.save(before, transition, beside);
      const current = outcome === 'stale' ? await made.find(before.session.id) : undefined;
      if (!current) return outcome;
      const { version } = current.session;
      return made.save({ ...before, session: { ...before.session, version } }, transition, beside);
    },
  };
}

/** Whatever a list lacks, it is believed. */
function trustingLists(deps: ReplicaDeps): ReplicaDeps {
  const observer: NonNullable<ReplicaDeps['remade']>['observer'] = (made) => ({
    list: async (...asked) => ({ ...(await made.list(...asked)), suspect: false }),
  });
  return { ...deps, remade: { ...deps.remade, observer } };
}

/** Once a destroy was answered, its instance is gone as far as this broker sees. */
function trustedWithDestroys(provider: Provider): Provider {
  const destroyed = new Set<InstanceId>();
  return {
    ...provider,
    async destroyInstance(id, options) {
      await provider.destroyInstance(id, options);
      destroyed.add(id);
      return 'gone';
    },
    getInstance: async (id, options) => (destroyed.has(id) ? undefined : provider.getInstance(id, options)),
    listInstances: async (options) => (await provider.listInstances(options)).filter(({ id }) => !destroyed.has(id)),
  };
}

function relabelled(provider: Provider, change: (tag: string) => string): Provider {
  const changed = (instance: Instance): Instance =>
    instance.tag === undefined ? instance : { ...instance, tag: change(instance.tag) };
  return {
    ...provider,
    async getInstance(id, options) {
      const instance = await provider.getInstance(id, options);
      return instance && changed(instance);
    },
    listInstances: async (options) => (await provider.listInstances(options)).map(changed),
  };
}

function withOurPrefix(tag: string, ours: DeploymentId): string {
  const parts = parseOwnershipTag(tag);
  if (!parts?.deployment.startsWith(ours)) return tag;
  return tag.replace(`-${parts.deployment}-`, `-${ours}-`);
}

/** As the product decorates a provider, but that its fence knows of no deadline. */
function withoutFence(provider: Provider, deps: DecorateDeps): Provider {
  const made = decorate(provider, deps);
  return {
    ...made,
    createInstance: (request, options) => made.createInstance({ ...request, notAfter: FAR_OFF }, options),
  };
}
