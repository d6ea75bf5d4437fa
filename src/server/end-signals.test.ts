import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { listenForEnd } from './end-signals.ts';

function listening() {
  const source = new EventEmitter();
  const clock = new FakeClock();
  const told: string[] = [];
  const { stop } = listenForEnd({
    source,
    clock,
    onFirst: (signal) => told.push(`first ${signal}`),
    onAgain: (signal) => told.push(`again ${signal}`),
  });
  return { source, clock, told, stop, send: (signal: string) => source.emit(signal, signal) };
}

describe('listenForEnd', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'])('tells of %s', (signal) => {
    const { send, told } = listening();

    send(signal);

    expect(told).toEqual([`first ${signal}`]);
  });

  it('takes what comes twice within two seconds for one, as Ctrl-C does under npm', async () => {
    const { send, told, clock } = listening();

    send('SIGINT');
    send('SIGINT');
    await clock.advance(2_000);
    send('SIGTERM');

    expect(told).toEqual(['first SIGINT']);
  });

  it('tells of another one later, and of each after it', async () => {
    const { send, told, clock } = listening();

    send('SIGTERM');
    await clock.advance(2_001);
    send('SIGINT');
    send('SIGINT');

    expect(told).toEqual(['first SIGTERM', 'again SIGINT', 'again SIGINT']);
  });

  it('hears nothing any more once it is stopped', () => {
    const { send, told, stop, source } = listening();

    stop();
    send('SIGTERM');

    expect(told).toEqual([]);
    expect(source.eventNames()).toEqual([]);
  });
});
