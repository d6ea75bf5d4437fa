import { afterEach, beforeEach, expect, it } from 'vitest';
import type { z } from 'zod';
import { startVastEmulator, type VastEmulator } from '../../providers/vastai/emulator.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { InventoryBody } from '../../src/http/schemas/offer.ts';
import type { CompatibleTemplatesBody, TemplatesBody } from '../../src/http/schemas/template.ts';
import { endBrokers, startBroker } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';
import { stockSsh } from '../support/stock-ssh.ts';
import { end, loginOf, rentRunning } from '../support/wire-session.ts';

/** The market's own behaviour, without most of the waiting. */
const QUICK = { bootScale: 0.02, sshdDelayMs: 400, stopMs: 300, listLagMs: 500, goneLagMs: 500, heartbeatMs: 1_000 } as const;
/** In the market, and not recommended by it: it asks for CUDA 12.8. */
const VLLM = 'ffee00112233445566778899aabbccdd';

let market: VastEmulator;

beforeEach(async () => {
  market = await startVastEmulator({ clock: systemClock, seed: 20_261, mode: 'strict', knobs: QUICK });
});

afterEach(async ({ task }) => {
  await endBrokers({ show: task.result?.state === 'fail' });
  await market.close();
});

describePart('sshd', 'a template of Vast.ai', () => {
  it('is found, goes with an offer, is rented, and lets its consumer in', async () => {
    const broker = await startBroker({
      env: {
        VASTAI_API_KEY: market.apiKey,
        VASTAI_BASE_URL: market.url,
        LIFECYCLE_CHECK_INTERVAL: '1s',
        SSH_CHECK_INTERVAL: '1s',
      },
    });
    const api = async <Body>(path: string) => (await broker.api<Body>('GET', `/api/v1/${path}`)).body;

    const { templates } = await api<z.infer<typeof TemplatesBody>>('templates?name=ollama');
    const [template] = templates;
    const hash = template?.hash_id ?? '';
    const { offers } = await api<z.infer<typeof InventoryBody>>(`inventory?template_hash_id=${hash}`);
    const fitting = await api<z.infer<typeof CompatibleTemplatesBody>>(`inventory/${offers[0]?.id}/compatible-templates`);
    const { session, ssh_private_key: key } = await rentRunning(broker, {
      body: { offer_id: offers[0]?.id, template_hash_id: hash, reservation_hours: 1 },
    });
    const hello = await stockSsh(loginOf(session, key), 'echo in');
    const [contract] = market.instances().filter(({ isAlive }) => isAlive);
    const ended = await end(broker, session.id);

    expect(template).toMatchObject({ name: 'Ollama small', provider: 'vastai', recommended_disk_space: 32 });
    expect(offers.length).toBeGreaterThan(5);
    expect(offers.every(({ cuda_version: cuda = 0 }) => cuda >= 12.4)).toBe(true);
    expect(fitting.compatible_templates).toContainEqual(expect.objectContaining({ hash_id: hash }));
    expect(session).toMatchObject({ template_hash_id: hash, disk_gb: 32 });
    expect(contract?.row).toMatchObject({ template_hash_id: hash, image_uuid: 'ollama/ollama:latest', disk_space: 32 });
    expect(hello).toMatchObject({ code: 0, stdout: 'in' });
    expect(ended.body.status).toBe('stopped');
    // a strict market has understood everything
    expect(market.requests().filter(({ status }) => status === 400 || status === 429)).toEqual([]);
  });

  it('PEER-11.2.28: is refused for an offer that it cannot run on, before anything is paid for', async () => {
    const broker = await startBroker({ env: { VASTAI_API_KEY: market.apiKey, VASTAI_BASE_URL: market.url } });
    const { offers } = (await broker.api<z.infer<typeof InventoryBody>>('GET', '/api/v1/inventory')).body;
    const old = offers.find(({ cuda_version: cuda = 0 }) => cuda < 12.8);

    const { status, body } = await broker.api('POST', '/api/v1/sessions', { offer_id: old?.id, template_hash_id: VLLM });

    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'invalid_request', fields: [{ field: 'template_hash_id' }] });
    expect(market.instances()).toEqual([]);
  });
});
