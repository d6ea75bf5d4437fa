import { describe, expect, it } from 'vitest';
import { anOffer } from '../../../test/support/in-memory-account.ts';
import type { Template } from '../../provider/template.ts';
import { httpWorlds, MEMORY, OFFERS, PUBLIC_KEY, someOffers, type World } from '../fixtures/http-world.ts';

const aWorld = httpWorlds();

async function rent({ app }: World, payload: Record<string, unknown>) {
  const url = '/api/v1/sessions?wait=0';
  const answer = await app.inject({ method: 'POST', url, payload: { ssh_public_key: PUBLIC_KEY, ...payload } });
  const body = answer.json<Record<string, unknown> & { session: Record<string, unknown>; warnings?: string[] }>();
  return { status: answer.statusCode, body };
}

const TEMPLATE: Template = {
  provider: MEMORY,
  id: 1,
  hashId: 'aabbccddeeff',
  name: 'Model server',
  image: 'server',
  usesSsh: true,
  usesDirectSsh: true,
  recommended: true,
  recommendedDiskGb: 120,
  needs: [],
};

describe('the disk of a session', () => {
  it("is the offer's own, 50 GB as a rule, when nothing says otherwise", async () => {
    const { body } = await rent(await aWorld(), { offer_id: OFFERS.ask1 });

    expect(body.session['disk_gb']).toBe(50);
  });

  it('is sized for the model that is named, which is told again later', async () => {
    const world = await aWorld();
    const { status, body } = await rent(world, { offer_id: OFFERS.ask1, model_id: 'org/Model-70B', quantization: 'FP8' });

    expect(status).toBe(201);
    // 70 of weights, 35 to fetch them, 10 of image, 5 of system: 120, and a fifth more
    expect(body.session).toMatchObject({ disk_gb: 145, model_id: 'org/Model-70B', quantization: 'FP8' });
    expect(body.session['price_per_hour']).toBeCloseTo(0.34 + (95 * 140) / 1e6, 6);
    expect(body.warnings).toBeUndefined();
  });

  it('takes what an offer has, where that is enough though less than recommended', async () => {
    const { body } = await rent(await aWorld(), { offer_id: OFFERS.ask1, model_id: 'org/Model-160B' });

    expect(body.session['disk_gb']).toBe(500); // 495 at least, 595 recommended
  });

  it('PEER-11.2.10: one that is asked for and too small for the model is refused with the whole sum, and nothing is stored', async () => {
    const world = await aWorld();
    const { status, body } = await rent(world, { offer_id: OFFERS.ask1, model_id: 'org/Model-70B-AWQ', disk_gb: 60 });

    expect(status).toBe(400);
    expect(body).toMatchObject({
      error_type: 'insufficient_disk',
      requested_gb: 60,
      minimum_gb: 75,
      recommended_gb: 90,
      breakdown: {
        model_weight_gb: 39.38,
        download_buffer_gb: 19.69,
        docker_image_gb: 10,
        system_overhead_gb: 5,
        minimum_gb: 75,
        recommended_gb: 90,
        model_id: 'org/Model-70B-AWQ',
        quantization: 'awq',
        param_count_b: 70,
      },
    });
    expect(await world.sessions.list({ limit: 10 })).toEqual([]);
  });

  it('an offer whose disks are all too small for the model is refused in the same way', async () => {
    const { status, body } = await rent(await aWorld(), { offer_id: OFFERS.ask1, model_id: 'org/Model-400B' });

    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'insufficient_disk', requested_gb: 500, minimum_gb: 1_215 });
  });

  it('by requirements passes over the offers on which the model does not fit', async () => {
    const roomy = anOffer({ provider: MEMORY, providerOfferId: 'roomy', maxDiskGb: 2_000, priceMicrosPerHour: 900_000 });
    const world = await aWorld({ offers: [...someOffers(), roomy] });

    const { body } = await rent(world, { gpu_type: 'RTX 4090', model_id: 'org/Model-400B' });

    expect(body.session).toMatchObject({ offer_id: 'memory-roomy', disk_gb: 1_460 });
  });

  it('warns where nothing tells the size of a model', async () => {
    const { status, body } = await rent(await aWorld(), { offer_id: OFFERS.ask1, model_id: 'openai-community/gpt2' });

    expect(status).toBe(201);
    expect(body.session['disk_gb']).toBe(50);
    expect(body.warnings).toEqual([expect.stringContaining("nothing tells this model's size")]);
  });

  it("has a template's disk as its floor", async () => {
    const templates = async () => ({ templates: [TEMPLATE], observedAt: 0, dropped: 0 });
    const world = await aWorld({ templates });
    const request = { offer_id: OFFERS.ask1, template_hash_id: TEMPLATE.hashId };

    expect((await rent(world, { ...request, model_id: 'org/Model-7B' })).body.session['disk_gb']).toBe(120);
  });

  it('still refuses the launch mode in which the model would be run', async () => {
    const { status, body } = await rent(await aWorld(), {
      offer_id: OFFERS.ask1,
      model_id: 'org/Model-7B',
      launch_mode: 'entrypoint',
    });

    expect(status).toBe(400);
    expect(body['error']).toContain('launch_mode entrypoint is not available yet');
  });
});
