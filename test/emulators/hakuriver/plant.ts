import { z } from 'zod';
import { generateSshKeyPair } from '../../../src/core/openssh-key-pair.ts';
import { openContainer, portOf, startContainer } from './containers.ts';
import { keyLinesOf } from './key-lines.ts';
import { freeCores } from './placement.ts';
import type { Task, World } from './world.ts';

/** Somebody else's VPS. */
export const Planted = z.strictObject({
  tag: z.string().optional().describe('the comment of its key; a key without one when absent'),
  command: z.string().optional().describe('its keys, whole, in place of a new key'),
  hostname: z.string().optional().describe('the emptiest node when absent'),
  cores: z.int().min(0).optional().describe('0 when absent: that counts nowhere'),
});
export type Planted = z.infer<typeof Planted>;

/** Made without the API, running at once. */
export async function plantVps(world: World, { tag = '', command, hostname, cores = 0 }: Planted): Promise<string> {
  const emptiest = [...world.nodes.values()]
    .filter(({ runner, status }) => runner?.isUp === true && status === 'online')
    .sort((a, b) => freeCores(world, b) - freeCores(world, a))[0];
  const node = hostname === undefined ? emptiest : world.nodes.get(hostname);
  if (node?.runner === undefined) throw new Error('there is no node to plant a VPS on');
  const id = world.nextId();
  const task: Task = {
    id,
    batchId: id,
    type: 'vps',
    command: command ?? generateSshKeyPair(tag).publicKey.trim(),
    args: [],
    envVars: {},
    cores,
    gpus: [],
    memoryBytes: null,
    environment: world.facts.defaultEnvironment,
    numaId: null,
    name: null,
    keyMode: 'upload',
    hostname: node.hostname,
    status: 'running',
    exitCode: 0,
    errorMessage: null,
    submittedAt: world.now(),
    startedAt: world.now(),
    completedAt: null,
    sshPort: null,
    suspicion: 0,
  };
  world.tasks.set(String(id), task);
  const container = await openContainer(world, task, keyLinesOf(task.command));
  startContainer(world, container, { isCrashing: false });
  task.sshPort = portOf(container) ?? null;
  node.runner.tracked.add(String(id));
  return String(id);
}
