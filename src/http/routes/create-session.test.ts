import { describe, expect, it } from 'vitest';
import { httpWorlds, MEMORY, OFFERS, PUBLIC_KEY } from '../fixtures/http-world.ts';
import { idOf, post, type Body } from '../fixtures/post-session.ts';

const aWorld = httpWorlds();

describe('POST /api/v1/sessions', () => {
  it('answers 201 with the pending session, its key and its place once it is stored, with wait=0', async () => {
    const world = await aWorld();

    const { status, headers, body } = await post(world, { offer_id: OFFERS.ask1 });

    expect(status).toBe(201);
    expect(headers['location']).toBe(`/api/v1/sessions/${idOf(body)}`);
    expect(headers['cache-control']).toBe('no-store');
    expect(body['ssh_private_key']).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----\n/);
    expect(body.session).toMatchObject({
      status: 'pending',
      phase: 'queued',
      consumer_id: 'default',
      workload_type: 'ssh',
      reservation_hours: 1,
      reservation_minutes: 60,
      offer_id: OFFERS.ask1,
      provider: MEMORY,
      price_per_hour: 0.34,
      cost: 0,
      attempts: [],
      actions: ['extend', 'done', 'delete'],
    });
  });

  it('takes the whole request of existing clients', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, {
      consumer_id: 'team-a',
      offer_id: OFFERS.ask1,
      workload_type: 'llm_vllm',
      reservation_hours: 4,
      idle_threshold_minutes: 30,
      storage_policy: 'preserve',
      launch_mode: 'ssh',
      docker_image: '',
      model_id: '',
      exposed_ports: [],
      quantization: '',
      template_hash_id: '',
      disk_gb: 100,
      auto_retry: true,
      max_retries: 9,
      retry_scope: 'same_vram',
      on_start_cmd: 'echo hello\n',
      ssh_timeout_minutes: 20,
    });

    expect(status).toBe(201);
    expect(body['warnings']).toEqual([expect.stringContaining('storage_policy preserve')]);
    expect(body.session).toMatchObject({
      consumer_id: 'team-a',
      storage_policy: 'preserve',
      auto_retry: true,
      max_retries: 5,
      retry_scope: 'same_vram',
      max_attempts: 6,
      idle_threshold_minutes: 30,
    });
  });

  it('PEER-11.2.30: says the disk, the offer and later the instance and the end of a session', async () => {
    const world = await aWorld();
    const { body } = await post(world, { offer_id: OFFERS.ask1, disk_gb: 80 });
    const id = idOf(body);
    await world.run(id);
    await world.app.inject({ method: 'DELETE', url: `/api/v1/sessions/${id}` });
    await world.vanish(id);

    const session = (await world.app.inject(`/api/v1/sessions/${id}`)).json<Body>();

    expect(session).toMatchObject({ disk_gb: 80, offer_id: OFFERS.ask1, instance_id: 'instance-1', status: 'stopped' });
    expect(session['stopped_at']).toMatch(/Z$/);
  });

  it.each([
    ['launch_mode', 'entrypoint'],
    ['exposed_ports', [8000]],
  ])('PEER-11.2.7: refuses %s, whose behaviour does not exist yet', async (field, value) => {
    const world = await aWorld();

    const { status, body } = await post(world, { offer_id: OFFERS.ask1, [field]: value });

    expect(status).toBe(400);
    expect(body['fields']).toEqual([{ field, message: expect.stringMatching(/not available yet/) }]);
  });

  it('REL-K6: names every field that is unknown, null, of the wrong type or absurd, at once', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, {
      offer_id: null,
      reservation_hour: 2,
      disk_gb: '50',
      idle_threshold_minutes: -1,
      workload_type: 'lmm',
      env: { '1A': 'x' },
      gpu_typ: 'T4',
    });

    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'invalid_request' });
    expect(body['fields']).toEqual(
      expect.arrayContaining([
        { field: 'offer_id', message: 'must be a text, not null; leave it out instead' },
        { field: 'reservation_hour', message: 'is no field of this request; did you mean reservation_hours?' },
        { field: 'disk_gb', message: 'must be a number' },
        { field: 'idle_threshold_minutes', message: 'must be at least 0' },
        { field: 'workload_type', message: expect.stringMatching(/^must be one of llm, .*did you mean llm\?$/) },
        { field: 'env.1A', message: 'must be letters, digits and underscores, no digit first' },
        { field: 'gpu_typ', message: 'is no field of this request; did you mean gpu_type?' },
      ]),
    );
    expect(body['error']).toContain('disk_gb must be a number; ');
  });

  it('REL-K6: names what does not go together in the same answer as what cannot be read', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, {
      offer_id: '',
      gpu_type: [7],
      workload_type: 'lmm',
      reservation_hours: 13,
      env: { BERTH_TAG: 'x' },
      ssh_public_key: 'ssh-dss AAAA',
    });
    const nothingReadable = await post(world, { workload: 'llm' });

    expect(status).toBe(400);
    const fields = body['fields'] as readonly { field: string }[]; // every 400 of this route has them
    expect(fields.map(({ field }) => field).toSorted()).toEqual(
      [
        'env.BERTH_TAG',
        'gpu_type.0',
        'gpu_type',
        'offer_id',
        'reservation_hours',
        'ssh_public_key',
        'workload_type',
      ].toSorted(),
    );
    expect(nothingReadable.body['error']).toMatch(/workload is no field of this request; .*; offer_id is required; /);
  });

  it('takes the empty texts and zeros of clients that always send the whole form', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, {
      offer_id: OFFERS.ask1,
      reservation_hours: 1,
      idle_threshold_minutes: 0,
      storage_policy: '',
      launch_mode: '',
      docker_image: '',
      model_id: '',
      exposed_ports: [],
      quantization: '',
      template_hash_id: '',
      disk_gb: 0,
      auto_retry: true,
      max_retries: 0,
      retry_scope: '',
      on_start_cmd: '',
      ssh_timeout_minutes: 0,
    });

    expect(status).toBe(201);
    expect(body.session).toMatchObject({ retry_scope: 'same_gpu', max_retries: 3, storage_policy: 'destroy' });
  });

  it.each([
    [{}, 'offer_id', /or what is needed: gpu_type, min_vram/],
    [{ offer_id: OFFERS.ask1, gpu_count: 1 }, 'gpu_count', /send one of them/],
    [{ provider: 'nowhere' }, 'provider', /^not found: nowhere; on are memory/],
    [{ offer_id: '' }, 'offer_id', /^must not be empty$/],
    [{ offer_id: OFFERS.ask1, reservation_hours: 0.01 }, 'reservation_hours', /at least 0.0833 \(5 minutes\)/],
    [{ offer_id: OFFERS.ask1, reservation_hours: 13 }, 'reservation_hours', /at most 12/],
    [{ offer_id: OFFERS.ask1, ssh_public_key: 'ssh-dss AAAA' }, 'ssh_public_key', /DSA/],
    [{ offer_id: OFFERS.ask1, env: { BERTH_TAG: 'x' } }, 'env.BERTH_TAG', /own names/],
    [{ offer_id: OFFERS.ask1, image: 'a', docker_image: 'b' }, 'docker_image', /same field as image/],
    [{ offer_id: OFFERS.ask1, name: 'a\u0000b' }, 'name', /control characters/],
    [{ offer_id: OFFERS.ask1, name: 'half \ud83d' }, 'name', /broken Unicode/],
  ])('refuses %j and says what to do', async (payload, field, message) => {
    const world = await aWorld();

    const { status, body } = await post(world, payload);

    expect(status).toBe(400);
    expect(body['fields']).toEqual([{ field, message: expect.stringMatching(message) }]);
  });

  it('takes a fraction of an hour, exactly in minutes and rounded up in hours', async () => {
    const world = await aWorld();

    const { body } = await post(world, { offer_id: OFFERS.stock, reservation_hours: 1.1 });

    expect(body.session).toMatchObject({ reservation_minutes: 66, reservation_hours: 2 });
  });

  it('PEER-10.61: keeps a key of the consumer and gives none back', async () => {
    const world = await aWorld();

    const { body } = await post(world, { offer_id: OFFERS.ask1, ssh_public_key: `${PUBLIC_KEY} me@home\n` });

    expect(body).not.toHaveProperty('ssh_private_key');
    expect((await world.sessions.find(idOf(body)))?.session.sshPublicKey).toBe(PUBLIC_KEY);
  });

  it('PEER-10.47: finds an offer whose id was copied with a space', async () => {
    const world = await aWorld();

    expect((await post(world, { offer_id: ` ${OFFERS.ask1} ` })).status).toBe(201);
  });

  it('picks the cheapest offer that fits the requirements', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, { gpu_type: 'rtx4090', min_vram: 24, location: 'quebec' });

    expect(status).toBe(201);
    expect(body.session).toMatchObject({ offer_id: OFFERS.ask2 });
  });

  it('answers 503 no_capacity when nothing fits, and 404 for an offer that nobody lists', async () => {
    const world = await aWorld();

    const nothing = await post(world, { gpu_type: 'H200' });
    const unknown = await post(world, { offer_id: 'memory-gone' });

    expect([nothing.status, nothing.body['error_type']]).toEqual([503, 'no_capacity']);
    expect([unknown.status, unknown.body['error_type']]).toEqual([404, 'offer_not_found']);
    expect(unknown.body['error']).toBe('offer not found: memory-gone');
  });

  it('PEER-11.2.9, PEER-10.71: answers 409 to the same consumer on the same offer, also when both come at once, and 503 to another', async () => {
    const world = await aWorld();
    const payload = { offer_id: OFFERS.ask1, consumer_id: 'a' };

    const both = await Promise.all([post(world, payload), post(world, payload)]);
    const other = await post(world, { ...payload, consumer_id: 'b' });

    expect(both.map(({ status }) => status)).toEqual(expect.arrayContaining([201, 409]));
    expect(both.find(({ status }) => status === 409)?.body).toMatchObject({ error_type: 'duplicate_session' });
    expect([other.status, other.body['error_type']]).toEqual([503, 'stale_inventory']);
    expect(other.body).toMatchObject({ offer_id: OFFERS.ask1, provider: MEMORY, retry_suggested: true });
  });

  it('refuses a disk that the offer cannot have, with what it can', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, { offer_id: OFFERS.ask1, disk_gb: 5_000 });

    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'insufficient_disk', requested_gb: 5_000, minimum_gb: 10, maximum_gb: 500 });
  });

  it('PEER-11.2.10, PEER-10.70: a disk that is refused leaves no session behind, and the offer free', async () => {
    const world = await aWorld();

    const refused = await post(world, { offer_id: OFFERS.ask1, disk_gb: 5_000 });

    expect(refused.status).toBe(400);
    expect(await world.sessions.list({ limit: 10 })).toEqual([]);
    expect((await post(world, { offer_id: OFFERS.ask1 })).status).toBe(201);
  });

  it('refuses an offer that has become dearer than max_price', async () => {
    const world = await aWorld();

    const { status, body } = await post(world, { offer_id: OFFERS.ask1, max_price: 0.3 });

    expect([status, body['error_type'], body['price_per_hour']]).toEqual([409, 'price_changed', 0.34]);
  });
});
