import type { Duplex } from 'node:stream';

export type Direction = 'to_instance' | 'to_consumer';

export interface SpliceRequest {
  readonly consumer: Duplex;
  readonly instance: Duplex;
  /** Told of every piece as it passes. */
  readonly onBytes: (direction: Direction, bytes: number) => void;
  /** One side has said its last word; the other may still speak. */
  readonly onHalfClose: () => void;
}

/** How a spliced connection came to its end: both sides had finished, or one of them broke off. */
export type SpliceEnd = 'finished' | 'broken';

/**
 * Copies bytes both ways until both sides have ended, or one is gone. Not `stream.pipeline`: that destroys a stream whose half is over while
 * the other half still flows. The end of one side is passed on to the other as an end, and a break as an end after what was received before
 * it; a slow reader slows the writer down, so that nothing gathers here but what the streams themselves hold.
 */
export function splice({ consumer, instance, onBytes, onHalfClose }: SpliceRequest): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    let isBroken = false;
    const gone = (side: Duplex, other: Duplex) => {
      isBroken ||= side.errored !== null || !side.readableEnded;
      onHalfClose();
      if (!other.destroyed && other.writable) other.end(); // what is still on its way to it is flushed first
      if (!other.destroyed && isBroken) closeWhenFlushed(other);
      if (consumer.destroyed && instance.destroyed) resolve(isBroken ? 'broken' : 'finished');
    };
    const halfOver = () => {
      onHalfClose();
      for (const side of [consumer, instance]) closeIfOver(side);
    };

    consumer.on('error', () => {}).on('close', () => gone(consumer, instance));
    instance.on('error', () => {}).on('close', () => gone(instance, consumer));
    pump({ from: consumer, to: instance, onBytes: (bytes) => onBytes('to_instance', bytes), onEnd: halfOver });
    pump({ from: instance, to: consumer, onBytes: (bytes) => onBytes('to_consumer', bytes), onEnd: halfOver });
    if (consumer.destroyed) gone(consumer, instance);
    if (instance.destroyed) gone(instance, consumer);
  });
}

interface Pump {
  readonly from: Duplex;
  readonly to: Duplex;
  readonly onBytes: (bytes: number) => void;
  readonly onEnd: () => void;
}

function pump({ from, to, onBytes, onEnd }: Pump): void {
  from.on('data', (piece: Buffer) => {
    onBytes(piece.length);
    if (!to.writable) return; // nobody hears it any more; the end of its reader is on its way
    if (!to.write(piece)) from.pause();
  });
  to.on('drain', () => from.resume());
  const end = () => {
    if (to.writable) to.end();
    onEnd();
  };
  if (from.readableEnded) end();
  else from.on('end', end).resume();
}

/** A stream that does not destroy itself once both its halves are over, as some providers' streams may not. */
function closeIfOver(side: Duplex): void {
  const close = () => {
    if (side.readableEnded && side.writableFinished && !side.destroyed) side.destroy();
  };
  if (side.writableFinished) close();
  else side.once('finish', close);
}

function closeWhenFlushed(side: Duplex): void {
  if (side.writableFinished) side.destroy();
  else side.once('finish', () => side.destroy());
}
