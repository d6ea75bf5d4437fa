import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, appendFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../../src/core/duration.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { handOffCommand } from '../../src/provider/key-hand-off.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { exec } from './fixtures/ssh-client.ts';
import {
  cleanUps,
  cleanUp,
  options,
  consumer,
  probe,
  bare,
  aFolder,
  aMarket,
  tagNumber,
  aRequest,
  untilState,
  untilGone,
  aRunningInstance,
  portOf,
  aConnection,
} from './fixtures/a-market.ts';

afterEach(cleanUp);

describe('a restart of the simulated market', () => {
  it('brings instances back on their ports with their host keys and authorized keys', async () => {
    const { provider, folder, close } = await aMarket();
    const before = await aRunningInstance(provider);
    const remove = handOffCommand({ consumerKey: bare(consumer), probeKey: bare(probe), probeAfter: { kind: 'remove' } });
    await exec(await aConnection(before, probe), remove);
    await close();
    await expect(aConnection(before)).rejects.toMatchObject({ code: 'ECONNREFUSED' });

    const { provider: restarted } = await aMarket({}, { folder });

    const after = await restarted.getInstance(before.id, options);
    expect(after).toMatchObject({ state: 'running', ssh: before.ssh, tag: before.tag, createdAt: before.createdAt });
    expect(await exec(await aConnection(before, consumer), 'echo back')).toMatchObject({ stdout: 'back\n' });
    await expect(aConnection(before, probe)).rejects.toMatchObject({ level: 'client-authentication' });
    const { offers } = await restarted.listOffers({}, options);
    expect(offers).toHaveLength(119);
  });

  it('lets boots and destroys go on while nobody watches', async () => {
    const clock = new FakeClock();
    const slow = { SIMULATED_BOOT_SECONDS: '60', SIMULATED_DESTROY_SECONDS: '60' };
    const { provider, folder, close } = await aMarket(slow, { clock });
    const [first, second] = (await provider.listOffers({}, options)).offers;
    const booting = await provider.createInstance(await aRequest(provider, first && { offer: first }), options);
    const going = await provider.createInstance(
      await aRequest(provider, second && { offer: second, tag: tagNumber(2) }),
      options,
    );
    await provider.destroyInstance(going.id, options);
    await close();

    await clock.advance(MINUTE_MS);
    const { provider: restarted } = await aMarket(slow, { folder, clock });

    expect(await restarted.getInstance(going.id, options)).toBeUndefined();
    const [name = ''] = readdirSync(folder);
    expect(readFileSync(join(folder, name), 'utf8')).not.toContain(going.id);
    await untilState(restarted, booting.id, 'running');
  });

  it('fails an instance whose port was taken meanwhile, and never moves it to another', async () => {
    const { provider, folder, close } = await aMarket();
    const instance = await aRunningInstance(provider);
    await close();
    const squatter = createServer().listen(portOf(instance), '127.0.0.1');
    await once(squatter, 'listening');
    cleanUps.push(() => new Promise((resolve) => squatter.close(resolve)));

    const { provider: restarted } = await aMarket({}, { folder });

    expect(await restarted.getInstance(instance.id, options)).toMatchObject({
      state: 'failed',
      reason: `its SSH server cannot come back on port ${portOf(instance)} of 127.0.0.1: another program has taken it`,
    });
  });

  it('fails an instance that finds no free port, and serves the others', async () => {
    const { provider, folder, close } = await aMarket();
    const port = portOf(await aRunningInstance(provider));
    await close();

    const { provider: narrow } = await aMarket({ SIMULATED_PORTS: `${port}-${port}` }, { folder });
    const second = await narrow.createInstance(await aRequest(narrow), options);

    expect(await untilState(narrow, second.id, 'failed')).toMatchObject({
      reason: `no port of SIMULATED_PORTS=${port}-${port} is free for its SSH server`,
    });
    expect(await narrow.listInstances(options)).toHaveLength(2);
  });

  it('overlooks a line that a kill cut in half, and keeps the file small and private', async () => {
    const { provider, folder, close } = await aMarket();
    const kept = await aRunningInstance(provider);
    const gone = await provider.createInstance(await aRequest(provider, { tag: tagNumber(2) }), options);
    await provider.destroyInstance(gone.id, options);
    await untilGone(provider, gone.id);
    await close();
    const [name = ''] = readdirSync(folder);
    appendFileSync(join(folder, name), '{"op":"create","record":{"id":"sim-');

    const { provider: restarted, log } = await aMarket({}, { folder });

    expect((await restarted.listInstances(options)).map(({ id }) => id)).toEqual([kept.id]);
    expect(log.messages('warn')).toContain('line of the simulated market left out: it cannot be read');
    expect(readFileSync(join(folder, name), 'utf8').trim().split('\n')).toHaveLength(2);
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  it('never gives an id twice', async () => {
    const { provider, folder, close } = await aMarket();
    const first = await provider.createInstance(await aRequest(provider), options);
    await provider.destroyInstance(first.id, options);
    await untilGone(provider, first.id);
    await close();

    const { provider: restarted } = await aMarket({}, { folder });
    const second = await restarted.createInstance(await aRequest(restarted), options);

    expect(second.id).not.toBe(first.id);
    expect(second.id).toMatch(/^sim-2-/);
  });

  it('loses nothing that was answered when the process is killed', { timeout: 60_000 }, async () => {
    const folder = aFolder();
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, 'fixtures/market-process.ts'), folder, bare(consumer)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    cleanUps.push(() => child.kill('SIGKILL'));
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const before = JSON.parse(line.toString()) as { id: string; ssh: unknown };

    child.kill('SIGKILL');
    await exited;
    const { provider } = await aMarket({}, { folder });

    const after = await untilState(provider, instanceId(before.id), 'running');
    expect(after.ssh).toEqual(before.ssh);
    expect(await exec(await aConnection(after), 'hostname')).toMatchObject({ code: 0 });
  });
});
