import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { instanceId } from '../../src/provider/ids.ts';
import { ProviderError } from '../../src/provider/provider-error.ts';
import { uncancelled } from '../../test/support/provider-calls.ts';
import { aProvider, KEY } from './fixtures/a-provider.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A vendor that holds every answer until it is told. */
async function aSlowVendor(clock: FakeClock) {
  const arrivals: { readonly atMs: number; readonly isCut: () => boolean; readonly response: ServerResponse }[] = [];
  const server = createServer((request, response) => {
    let isCut = false;
    request.on('close', () => (isCut = !response.writableEnded));
    response.on('close', () => (isCut = !response.writableEnded));
    arrivals.push({ atMs: clock.monotonicMs(), isCut: () => isCut, response });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // holds: it listens on TCP
  const { provider } = await aProvider({ VASTAI_API_KEY: KEY, VASTAI_BASE_URL: `http://127.0.0.1:${port}` }, clock);
  return { provider, arrivals };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries > 500) throw new Error('it never came so far');
    await pause(10);
  }
}

const thrownBy = (call: Promise<unknown>) => call.then(String, (error: unknown) => error);

describe('a call to Vast.ai that its caller gives up', () => {
  it('CONF-C6: is told so at once, and the next call waits until it has surely reached the vendor', async () => {
    const clock = new FakeClock();
    const { provider, arrivals } = await aSlowVendor(clock);
    const abort = new AbortController();
    const first = thrownBy(provider.getInstance(instanceId('1'), { signal: abort.signal }));
    await until(() => arrivals.length === 1);

    abort.abort();
    const thrown = await first;
    const second = thrownBy(provider.getInstance(instanceId('2'), uncancelled));
    await clock.advance(4_000); // longer than the vendor's interval of two seconds
    await pause(50);
    const before = arrivals.length;
    arrivals[0]?.response.end('{"instances": null}');
    await pause(50);
    await clock.advance(2_500);
    await until(() => arrivals.length === 2);

    expect(thrown).toBeInstanceOf(ProviderError);
    expect(thrown).toMatchObject({ kind: 'unavailable' });
    expect(before).toBe(1);
    expect(arrivals[1]?.atMs).toBeGreaterThanOrEqual(6_000);
    arrivals[1]?.response.end('{"instances": null}');
    await second;
  });

  it('is cut when the vendor takes too long for an answer that nobody waits for', async () => {
    const clock = new FakeClock();
    const { provider, arrivals } = await aSlowVendor(clock);
    const abort = new AbortController();
    const call = thrownBy(provider.getInstance(instanceId('1'), { signal: abort.signal }));
    await until(() => arrivals.length === 1);
    abort.abort();
    await call;
    await pause(50);
    const beforeItsTime = arrivals[0]?.isCut();

    await clock.advance(10_000);
    await until(() => arrivals[0]?.isCut() === true);

    expect(beforeItsTime).toBe(false);
  });
});
