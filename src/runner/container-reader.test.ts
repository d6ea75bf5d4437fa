import { describe, expect, it } from 'vitest';
import { lastOfLogs } from './container-reader.ts';

function frame(stream: 1 | 2, text: string): Buffer {
  const head = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

describe('the last words of a container', () => {
  it.each([
    ['the last line of stderr', [frame(2, 'one\ntwo\n'), frame(1, 'out\n')], 'two'],
    ['the last line of stdout when stderr is silent', [frame(1, 'a\n'), frame(1, 'b\n\n')], 'b'],
    ['whole when a line came in two frames', [frame(2, 'no lic'), frame(2, 'ence\n')], 'no licence'],
    ['those of a terminal, which has no frames', [Buffer.from('plain\nlast\n')], 'last'],
    ['nothing when nothing was said', [], ''],
  ])('are %s', (_, frames, words) => {
    expect(lastOfLogs(Buffer.concat(frames))).toBe(words);
  });

  it('survive a frame that is cut short', () => {
    expect(lastOfLogs(frame(2, 'a long line').subarray(0, 12))).toBe('a lo');
  });
});
