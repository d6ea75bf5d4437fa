import { describe, expect, it } from 'vitest';
import { generateSshKeyPair } from '../../src/core/openssh-key-pair.ts';
import { instanceId } from '../../src/provider/ids.ts';
import type { Offer } from '../../src/provider/offer.ts';
import type { CreateRequest } from '../../src/provider/provider.ts';
import { login } from '../emulators/vastai/test-client.ts';
import { uncancelled } from '../support/provider-calls.ts';
import { answer, created, createLimitMs, createRequest, eventually, got, listOffers, settled } from './steps.ts';
import { makeVastWorld } from './vastai-world.ts';
import type { VastWorld } from './vastai-world.ts';

const OLLAMA = '0f3c5a7be1d94c0a8b7d6e5f4a3b2c1d';
/** In the market, and not recommended by it. */
const VLLM = 'ffee00112233445566778899aabbccdd';
const TEMPLATES = '^/api/v0/template/$';
const CREATES = '^/api/v0/asks/';

const consumer = generateSshKeyPair('consumer');
const probe = generateSshKeyPair('probe');
const keys = [consumer.publicKey, probe.publicKey];

async function aMarket(): Promise<VastWorld> {
  return makeVastWorld({ seed: 1, mode: 'strict' });
}

const listed = async (world: VastWorld, hashId?: string) => {
  const { templates } = world.provider;
  if (!templates) throw new Error('Vast.ai has templates');
  return answer(world, templates.call(world.provider, hashId === undefined ? {} : { hashId }, uncancelled));
};

const callsOf = (world: VastWorld, path: string) =>
  world.emulator.requests().filter((request) => new RegExp(path).test(request.path));

async function onDemandOffer(world: VastWorld): Promise<Offer> {
  const offer = (await listOffers(world)).offers.find(({ interruptible }) => !interruptible);
  if (!offer) throw new Error('the market has nothing on demand');
  return offer;
}

/** The market's own record of what was made. */
async function rented(world: VastWorld, overrides: Partial<CreateRequest>) {
  const { instance } = await created(world, { offer: await onDemandOffer(world), sshPublicKeys: keys, ...overrides });
  const found = world.emulator.instances().find(({ id }) => String(id) === instance.id);
  if (!found) throw new Error('the market does not know it');
  return { instance, row: found.row };
}

describe('templates of the emulated Vast.ai', () => {
  it('are those that it recommends, at its pace; others are found by their hash', async () => {
    const world = await aMarket();

    const { templates, dropped } = await listed(world);
    const other = await listed(world, VLLM);
    const none = await listed(world, '00000000');

    expect({ names: templates.map(({ name }) => name), dropped }).toEqual({ names: ['Ollama small', 'PyTorch'], dropped: 0 });
    expect(other.templates).toMatchObject([{ name: 'vLLM', needs: [{ trait: 'cuda', operator: 'gte', values: [12.8] }] }]);
    expect(none.templates).toEqual([]);
    await world.close(); // which fails when a call came too early
  });

  it('make instances that bear them, with their image, variables and script, and with our keys', async () => {
    const world = await aMarket();

    const { instance, row } = await rented(world, { templateHashId: OLLAMA });

    expect(row).toMatchObject({ template_hash_id: OLLAMA, image_uuid: 'ollama/ollama:latest', image_runtype: 'ssh_direct' });
    expect(row['onstart']).toMatch(/\/root\/\.ssh[\s\S]*\nollama serve &\n$/);
    expect(row['extra_env']).toEqual(
      expect.arrayContaining([
        ['OLLAMA_HOST', '0.0.0.0'],
        ['-p 11434:11434', '1'],
        ['BERTH_TAG', instance.tag],
      ]),
    );
    const running = await eventually(world, {
      what: 'the instance should run',
      limitMs: world.limits.bootMs,
      probe: async () => {
        const now = await got(world, instanceId(instance.id));
        return now?.state === 'running' && now.ssh.routes !== 'dial' ? now.ssh.routes : undefined;
      },
    });
    await world.advance(5_000);
    for (const { port } of running) {
      expect(await login(port, consumer.privateKey, 'whoami')).toBe('root\n');
      expect(await login(port, probe.privateKey, 'whoami')).toBe('root\n');
    }
    await world.close();
  });

  it('stand back behind what the request says itself', async () => {
    const world = await aMarket();

    const { row } = await rented(world, {
      templateHashId: OLLAMA,
      image: 'ubuntu:24.04',
      onStart: 'echo mine',
      environment: { OLLAMA_HOST: '127.0.0.1' },
    });

    expect(row).toMatchObject({ template_hash_id: OLLAMA, image_uuid: 'ubuntu:24.04' });
    expect(row['onstart']).toContain(Buffer.from('#!/bin/sh\necho mine\n').toString('base64'));
    expect(row['onstart']).not.toContain('ollama serve');
    expect(row['extra_env']).toContainEqual(['OLLAMA_HOST', '127.0.0.1']);
    await world.close();
  });

  it('are not looked up again for a create that follows', async () => {
    const world = await aMarket();
    await listed(world);

    await rented(world, { templateHashId: OLLAMA });

    expect(callsOf(world, TEMPLATES)).toHaveLength(1);
    await world.close();
  });

  it.each<[string, string, string, (world: VastWorld) => void]>([
    ['rejected', '00000000', 'no such template', () => {}],
    ['unavailable', OLLAMA, 'could not be looked up', ({ controls }) => controls.fault?.('ListTemplates', 'unreadable')],
    ['unavailable', OLLAMA, 'could not be looked up', ({ controls }) => controls.fault?.('ListTemplates', 'rate_limited')],
    ['auth', OLLAMA, 'could not be looked up', ({ controls }) => controls.fault?.('ListTemplates', 'auth')],
  ])('say %s, and nothing is sent, when a create names %s that cannot be had', async (kind, templateHashId, why, spoil) => {
    const world = await aMarket();
    const offer = await onDemandOffer(world);
    spoil(world);

    const outcome = await settled(
      world,
      world.provider.createInstance(createRequest(world, offer, { templateHashId }), uncancelled),
      { limitMs: createLimitMs(world) },
    );

    expect(outcome).toMatchObject({ thrown: { kind, operation: 'CreateInstance', message: expect.stringContaining(why) } });
    expect(callsOf(world, CREATES)).toEqual([]);
    world.controls.heal?.();
    await world.close();
  });
});
