import { describe, expect, it } from 'vitest';
import type { Recording, Step } from '../../test/emulators/hakuriver/recording.ts';
import { readRecordings } from '../../test/emulators/hakuriver/recording.ts';
import { createReplay, lastWatched } from '../../test/emulators/hakuriver/replay.ts';
import type { Replay } from '../../test/emulators/hakuriver/replay.ts';
import { bannerOf, withCluster } from '../../test/emulators/hakuriver/test-client.ts';

// Each recorded conversation is held with the emulator, step by step. Its answers must be those of the real Host to the letter, once ids,
// ports, times and URLs read the same.

/** As `start.sh 2` of the recordings makes it. */
const cluster = {
  dialect: 'P',
  nodes: [1, 2].map((number) => ({ hostname: `node-${number}`, cores: 2, ramBytes: 25_276_514_304 })),
  environments: { 'test-env': 'works' },
  knobs: { stopMs: 300 },
} as const;

interface Direction {
  /** What happened just before the step. */
  readonly before?: (replay: Replay, steps: readonly Step[]) => unknown;
  /** Where it was sent: to the Runner of node-1. */
  readonly isAtRunner?: boolean;
  /** The comparison in place of the usual one. */
  readonly instead?: (replay: Replay, step: Step) => Promise<void>;
}

const stepOf = (steps: readonly Step[], number: number): Step => {
  const found = steps.find(({ step }) => step === number);
  if (found === undefined) throw new Error(`the recording has no step ${number}`);
  return found;
};
const advance = (ms: number): Direction => ({ before: ({ client }) => client.emulator.advance(ms) });
const dialPortOfVps: Direction = {
  async instead(replay, step) {
    const sshPort = replay.client.emulator.ledger().at(-1)?.sshPort;
    const { text } = await replay.dial(step, 150, sshPort);
    expect(text.slice(0, 8)).toBe(step.tcp?.received.slice(0, 8));
  },
};
/** What a Runner had said at other moments: the same kind of answer. */
const sameKind: Direction = {
  async instead(replay, step) {
    const { recorded, actual } = await replay.play(step);
    expect(actual.replace(/"message":".*"/, '')).toBe(recorded.replace(/"message":".*"/, ''));
  },
};

const DIRECTIONS: Readonly<Record<string, Readonly<Record<number, Direction>>>> = {
  lifecycle: {
    1: { before: ({ client }) => client.emulator.setKnobs({ sshdDelayMs: 1_000 }) },
    2: dialPortOfVps,
    4: advance(1_000),
    17: dialPortOfVps,
    19: advance(6_000),
    20: { instead: async ({ client }) => expect(client.emulator.ledger()).toMatchObject([{ state: 'removed' }]) },
  },
  orphan: {
    1: {
      async before(replay, steps) {
        replay.client.emulator.setKnobs({ runMs: 1_400 });
        const create = stepOf(steps, 3);
        replay.begin(create);
        const [id = ''] = await replay.client.listed(1);
        replay.learn(/"task_ids":\["(\d+)"/.exec(create.response?.text ?? '')?.[1] ?? '', id);
      },
    },
    3: advance(1_400),
    7: { isAtRunner: true, before: ({ client }) => client.emulator.setKnobs({ stopMs: 0 }) },
    8: { instead: async ({ client }) => expect(client.emulator.livingWithTag('orphan')).toEqual([]) },
  },
  slow: {
    1: {
      async before(replay, steps) {
        replay.client.emulator.setKnobs({ slowShare: 1 });
        replay.begin(stepOf(steps, 1));
        await replay.client.listed(1);
        replay.client.emulator.advance(30_000);
      },
    },
    3: advance(8_000),
  },
  close: {
    2: {
      async instead(replay, step) {
        const dialled = replay.dial(step, 400);
        await replay.client.tunnel(replay.lastId());
        replay.client.emulator.removeContainer(replay.lastId());
        expect((await dialled).end).toBe('open');
      },
    },
    9: { instead: ({ client }, { observed }) => expect.poll(() => String(client.emulator.leakedTunnels())).toBe(observed) },
  },
  command: { 2: advance(1_000) },
  pause: {
    9: advance(100),
    // a container of a command was removed by hand
    16: { instead: () => Promise.resolve() },
  },
  proxy: {
    9: {
      async instead(replay, step) {
        const dialled = replay.dial(step, 400);
        await replay.client.dial('x\n');
        replay.client.emulator.advance(10_000);
        expect(await dialled).toEqual({ text: step.tcp?.received, end: 'closed' });
      },
    },
    11: { before: ({ client, lastId }) => client.emulator.freezeContainer(lastId()) },
    13: { before: ({ client, lastId }) => client.emulator.restartContainer(lastId()) },
    16: { before: ({ client, lastId }) => client.emulator.stopContainer(lastId()) },
  },
  lost: {
    2: { before: ({ client }) => client.emulator.killRunner('node-1') },
    // of the first of the two
    4: { before: ({ client }) => client.emulator.advance(40_000), instead: () => Promise.resolve() },
    13: {
      async before({ client }) {
        await client.emulator.returnRunner('node-1');
        client.emulator.advance(10_000);
      },
      instead: () => Promise.resolve(),
    },
    16: { isAtRunner: true, before: ({ client }) => client.emulator.setKnobs({ stopMs: 0 }) },
    17: { instead: async ({ client }) => expect(client.emulator.livingWithTag('lost')).toEqual([]) },
  },
  restart: {
    2: { before: ({ client }) => client.emulator.stopHost() },
    3: {
      async before({ client }) {
        client.emulator.advance(3_000);
        await client.emulator.startHost();
      },
    },
    5: {
      async before({ client }) {
        await client.emulator.killRunner('node-1');
        await client.emulator.returnRunner('node-1');
      },
    },
    7: {
      async before({ client }) {
        await client.emulator.stopHost();
        client.emulator.advance(45_000);
        await client.emulator.startHost();
        client.emulator.advance(20_000);
      },
    },
    9: {
      async instead({ client }) {
        client.emulator.advance(300);
        expect(client.emulator.ledger()).toMatchObject([{ state: 'removed' }]);
      },
    },
  },
  memory: { 4: advance(22_000) },
  nodes: {
    8: {
      async instead({ client }, { response }) {
        const { json } = await client.call('GET', '/docker/list');
        expect({ 'test-env': json['test-env'] }).toEqual(JSON.parse(response?.text ?? ''));
      },
    },
    9: {
      async instead({ client }, { observed }) {
        const { json } = await client.call('GET', '/openapi.json');
        const recorded = observed as { title: string; version: string; paths: string[] }; // of this one step
        expect(json['info']).toEqual({ title: recorded.title, version: recorded.version });
        const spoken = recorded.paths.filter((path) => !/^\/docker\/(?:host\/.*\{|host\/create|create_tar)/.test(path));
        expect(Object.keys(json['paths'] as object).sort()).toEqual(spoken.sort());
      },
    },
  },
  wire: Object.fromEntries([10, 11, 12, 18, 19, 20, 21, 22, 23, 24, 25].map((number) => [number, sameKind])),
};

describe.each(readRecordings().map((recording) => [recording.scenario, recording] as const))(
  'recorded: %s',
  (scenario, recording) => {
    it('is answered as the real Host answered it', () =>
      withCluster(cluster, async (client) => {
        const replay = createReplay(client);
        for (const step of recording.steps)
          await playStep(replay, { recording, step, direction: DIRECTIONS[scenario]?.[step.step] ?? {} });
        expect(recording.steps.length).toBeGreaterThan(4);
      }));
  },
);

async function playStep(
  replay: Replay,
  { recording, step, direction }: { recording: Recording; step: Step; direction: Direction },
): Promise<void> {
  await direction.before?.(replay, recording.steps);
  if (direction.instead !== undefined) return direction.instead(replay, step);
  const name = `${recording.scenario} ${step.step}, ${step.note}: `;
  if (step.networkError !== undefined) return expect(replay.play(step)).rejects.toThrow();
  if (step.request !== undefined) {
    const at = direction.isAtRunner === true ? await replay.client.runnerUrl('node-1') : undefined;
    const { recorded, actual } = await replay.play(step, at);
    return expect(name + actual).toBe(name + recorded);
  }
  if (step.tcp !== undefined) {
    const expected = replay.translate(step.tcp.received);
    if (expected.startsWith('SUCCESS\nSSH-2.0-'))
      return expect(await bannerOf(replay.client.emulator.proxyPort, replay.translate(step.tcp.sent ?? ''))).toMatch(
        /^SUCCESS\nSSH-2\.0-/,
      );
    const { text, end } = await replay.dial(step, 150);
    expect(name + text).toBe(name + expected);
    return expect(end).toBe(step.tcp.end === 'closed by peer' ? 'closed' : 'open');
  }
  const watched = lastWatched(step.observed);
  if (watched !== undefined) expect(await replay.watch()).toEqual(watched);
}
