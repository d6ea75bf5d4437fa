import PQueue from 'p-queue';
import type { Clock } from '../core/clock.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { SessionContainer, StartOrder } from '../runner-protocol/messages.ts';
import { RunnerFailure } from '../runner-protocol/runner-link.ts';
import { differencesFromTemplate } from './container-check.ts';
import { containerEnvironment, loginEnvironment } from './container-environment.ts';
import type { ContainerReader } from './container-reader.ts';
import { containerTemplate, LABEL, type ContainerTemplate, type TemplateSettings } from './container-template.ts';
import type { ContainerRead, DockerEngine } from './docker-engine.ts';
import { EngineError, startFailure, unreachable } from './engine-error.ts';
import { openFilesLimit } from './open-files.ts';
import { publishAddress } from './publish-address.ts';
import { isOurImage, type SshdCheck } from './sshd-check.ts';
import { packFiles } from './tar.ts';

const UNDO_TIMEOUT_MS = 15_000;

interface SessionContainersDeps {
  readonly engine: DockerEngine;
  readonly reader: ContainerReader;
  readonly sshd: SshdCheck;
  readonly clock: Pick<Clock, 'timeoutSignal'>;
  readonly log: Log;
  readonly config: Pick<TemplateSettings, 'pidsLimit' | 'packageCapabilities'> & { readonly publishHost: string };
}

/** Starts and ends the containers of sessions. Throws nothing but `RunnerFailure`. */
export interface SessionContainers {
  /**
   * Makes and starts the container named by the tag, or finds the one that an earlier order with the same tag made (J17).
   * `full` and `refused` promise that nothing is left of it; where that cannot be promised the failure is `unknown`.
   */
  start(order: StartOrder, signal: AbortSignal): Promise<SessionContainer>;
  /** Ends a session's container; only one that bears our label is ever touched. */
  stop(containerId: string, signal: AbortSignal): Promise<void>;
}

export function createSessionContainers({
  engine,
  reader,
  sshd,
  clock,
  log,
  config,
}: SessionContainersDeps): SessionContainers {
  /** The look for room and the create that takes it belong together. */
  const oneAtATime = new PQueue({ concurrency: 1 });

  async function start(order: StartOrder, signal: AbortSignal): Promise<SessionContainer> {
    const what = `start ${order.tag}`;
    const environment = containerEnvironment(order.environment, order.tag);
    const { bindIp } = await publishAddress(config.publishHost);
    const template = containerTemplate(order, environment, {
      publishIp: bindIp,
      pidsLimit: config.pidsLimit,
      openFiles: await openFilesLimit(),
      packageCapabilities: config.packageCapabilities,
    });
    const existing = await asUnreachable(what, engine.inspect(order.tag, signal));
    if (existing !== undefined) return adopt(existing, order, template, signal);
    await checkImage(order, signal);
    const id = await oneAtATime.add(() => claim(order, template, signal));
    return finish(id, order, template, signal);
  }

  async function checkImage(order: StartOrder, signal: AbortSignal): Promise<void> {
    const what = `start ${order.tag}`;
    const image = await asUnreachable(what, engine.image(order.image, signal));
    if (image === undefined) {
      throw new RunnerFailure(
        'refused',
        `image ${order.image} is not on the machine: pull it there (docker pull ${order.image}) or make it`,
      );
    }
    if (!(await asUnreachable(what, sshd.hasSshd(order.image, image, signal)))) {
      throw new RunnerFailure(
        'refused',
        `image ${order.image} has no SSH server: install openssh-server in it, or use one made by "npm run image"`,
      );
    }
    if (order.onStart !== undefined && !isOurImage(image)) {
      throw new RunnerFailure('refused', `image ${order.image} runs no start script: only images made by "npm run image" do`);
    }
  }

  /** Returns the id of a container that holds its share of the machine and is not started yet. */
  async function claim(order: StartOrder, template: ContainerTemplate, signal: AbortSignal): Promise<string> {
    const what = `start ${order.tag}`;
    await asUnreachable(what, refuseTaken(order, undefined, signal));
    const id = await create(order, template, signal);
    try {
      // a second broker on the same engine looks and creates at the same time: the elder container keeps the share
      await refuseTaken(order, id, signal);
    } catch (error) {
      await undo(id, order.tag, error);
      throw error instanceof RunnerFailure
        ? error
        : new RunnerFailure('unreachable', `${what}: ${describeError(error)}`, error);
    }
    return id;
  }

  async function create(order: StartOrder, template: ContainerTemplate, signal: AbortSignal): Promise<string> {
    const what = `start ${order.tag}`;
    try {
      return await engine.create(order.tag, template, signal);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.fault === 'not_sent') throw unreachable(error, what);
      if (error.fault === 'cut_off') throw new RunnerFailure('unknown', `${what}: ${error.message}`, error);
      const made = await asUnknown(what, engine.inspect(order.tag, signal));
      if (made === undefined) throw startFailure(error, what);
      if (error.status !== 409) await undo(made.Id, order.tag, error);
      if (error.status !== 409) throw startFailure(error, what);
      if (made.Config.Labels?.[LABEL.tag] !== order.tag) throw nameTaken(order);
      return made.Id;
    }
  }

  async function refuseTaken(order: StartOrder, own: string | undefined, signal: AbortSignal): Promise<void> {
    const all = await reader.holdings(signal);
    const mine = all.find((holding) => holding.id === own);
    const rivals = all.filter((holding) => holding.id !== own && (mine === undefined || isElder(holding, mine)));
    const taken = rivals.flatMap((holding) => holding.units).find((unit) => order.units.includes(unit));
    if (taken !== undefined)
      throw new RunnerFailure('full', `start ${order.tag}: another session has just taken ${taken} of this machine`);
  }

  /** From a created container to a started one: what was made is checked, the files go in, and it starts. */
  async function finish(
    id: string,
    order: StartOrder,
    template: ContainerTemplate,
    signal: AbortSignal,
  ): Promise<SessionContainer> {
    const what = `start ${order.tag}`;
    try {
      const { SwapLimit } = await engine.info(signal);
      const made = await engine.inspect(id, signal);
      if (made === undefined)
        throw new RunnerFailure('refused', `${what}: somebody removed the container while it was being made`);
      const differences = differencesFromTemplate(made.HostConfig, template, { swapLimit: SwapLimit !== false });
      if (differences.length > 0) {
        log.error({ tag: order.tag, differences }, 'the engine made another container than was ordered');
        throw new RunnerFailure(
          'refused',
          `${what}: the engine changed what was ordered (${differences.join(', ')}); check its default settings`,
        );
      }
      await engine.putFiles(id, sessionFiles(order, template), signal);
      await engine.start(id, signal);
    } catch (error) {
      if (error instanceof EngineError && error.fault === 'cut_off')
        throw new RunnerFailure('unknown', `${what}: ${error.message}`, error);
      await undo(id, order.tag, error);
      if (error instanceof EngineError) throw error.fault === 'answered' ? startFailure(error, what) : unreachable(error, what);
      throw error;
    }
    const started = await asUnknown(what, reader.byId(id, signal));
    if (started === undefined)
      throw new RunnerFailure('refused', `${what}: somebody removed the container right after its start`);
    return started;
  }

  async function adopt(
    existing: ContainerRead,
    order: StartOrder,
    template: ContainerTemplate,
    signal: AbortSignal,
  ): Promise<SessionContainer> {
    if (existing.Config.Labels?.[LABEL.tag] !== order.tag) throw nameTaken(order);
    if (existing.State.Status === 'created') return finish(existing.Id, order, template, signal);
    const found = await asUnknown(`start ${order.tag}`, reader.byId(existing.Id, signal));
    if (found === undefined)
      throw new RunnerFailure('refused', `start ${order.tag}: somebody removed the container while it was being found`);
    return found;
  }

  /** Takes back a container that must not stay. Returns only when the engine says that it is gone; else throws `unknown`. */
  async function undo(id: string, tag: string, why: unknown): Promise<void> {
    const signal = clock.timeoutSignal(UNDO_TIMEOUT_MS); // its own time: the caller may have given up already
    log.warn({ tag, cause: describeError(why) }, 'taking back a container');
    try {
      await engine.remove(id, signal);
      if ((await engine.inspect(id, signal)) === undefined) return;
    } catch (error) {
      throw new RunnerFailure('unknown', `start ${tag}: failed, and the container could not be taken back`, error);
    }
    throw new RunnerFailure('unknown', `start ${tag}: failed, and the container is still being taken back`, why);
  }

  return {
    start,
    async stop(containerId, signal) {
      const what = `stop ${containerId.slice(0, 12)}`;
      const found = await asUnreachable(what, engine.inspect(containerId, signal));
      if (found === undefined) return;
      if (found.Config.Labels?.[LABEL.tag] === undefined)
        throw new RunnerFailure('refused', `${what}: it is no session's container`);
      try {
        await engine.remove(containerId, signal);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        throw error.fault === 'cut_off'
          ? new RunnerFailure('unknown', `${what}: ${error.message}`, error)
          : unreachable(error, what);
      }
      log.info({ container: containerId, tag: found.Config.Labels[LABEL.tag] }, 'session container removed');
    },
  };
}

/** The keys, the script and the login's variables, as files: they never pass through a shell (K9). */
function sessionFiles(order: StartOrder, template: ContainerTemplate): Buffer {
  const files = [
    { path: '/root/.ssh/authorized_keys', mode: 0o600, content: order.sshPublicKeys.map((key) => `${key}\n`).join('') },
    { path: '/root/.ssh/environment', mode: 0o600, content: loginEnvironment(template.Env) },
  ];
  const script = order.onStart === undefined ? [] : [{ path: '/etc/berth/on-start', mode: 0o700, content: order.onStart }];
  return packFiles([...files, ...script], { '/root/.ssh': 0o700 });
}

function isElder(one: { createdAt: number; id: string }, other: { createdAt: number; id: string }): boolean {
  return one.createdAt === other.createdAt ? one.id < other.id : one.createdAt < other.createdAt;
}

function nameTaken(order: StartOrder): RunnerFailure {
  return new RunnerFailure(
    'refused',
    `start ${order.tag}: a container of this name exists and is no session's; rename or remove it`,
  );
}

async function asUnreachable<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof EngineError ? unreachable(error, what) : error;
  }
}

/** For reads after something was made. */
async function asUnknown<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof EngineError || (error instanceof RunnerFailure && error.kind === 'unreachable')
      ? new RunnerFailure('unknown', `${what}: ${error.message}`, error)
      : error;
  }
}
