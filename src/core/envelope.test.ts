import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createEnvelope } from './envelope.ts';
import type { SealedSecret, SecretBinding } from './envelope.ts';
import { Secret } from './secret.ts';

const kek = (fill: number) => new Secret(new Uint8Array(32).fill(fill));
const envelope = createEnvelope(kek(1));
const binding: SecretBinding = { id: 'sec_1', purpose: 'probe_key', context: 'ses_1' };
const PLAIN = '-----BEGIN OPENSSH PRIVATE KEY-----\nüñí\n-----END OPENSSH PRIVATE KEY-----\n';

describe('createEnvelope', () => {
  it('opens what it sealed', () => {
    const opened = envelope.open(envelope.seal(PLAIN, binding), binding);

    expect(opened.ok && opened.secret.reveal()).toBe(PLAIN);
    expect(inspect(opened)).not.toContain('BEGIN');
  });

  it('seals nothing at all, too', () => {
    const opened = envelope.open(envelope.seal('', binding), binding);

    expect(opened.ok && opened.secret.reveal()).toBe('');
  });

  it('keeps the plain text out of what is stored', () => {
    const { wrappedDek, sealed } = envelope.seal(PLAIN, binding);

    expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toContain('BEGIN');
    expect(Buffer.from(wrappedDek, 'base64').toString('latin1')).not.toContain('BEGIN');
  });

  it('REL-L8: uses a key and a nonce once: the same text never looks the same', () => {
    const rows = Array.from({ length: 200 }, () => envelope.seal(PLAIN, binding));

    const nonces = rows.flatMap(({ sealed, wrappedDek }) => [sealed, wrappedDek].map((text) => text.slice(0, 16)));
    expect(new Set(nonces).size).toBe(400);
    expect(new Set(rows.map(({ sealed }) => sealed)).size).toBe(200);
  });

  it.each([
    ['row', { ...binding, id: 'sec_2' }],
    ['purpose', { ...binding, purpose: 'consumer_key' }],
    ['session', { ...binding, context: 'ses_2' }],
    ['cut between the same letters', { ...binding, id: 'sec_1s', context: 'es_1' }],
  ])('stays shut for another %s', (_what, other) => {
    expect(envelope.open(envelope.seal(PLAIN, binding), other)).toEqual({ ok: false, failure: 'refused' });
  });

  it.each(['wrappedDek', 'sealed'] as const)('stays shut when a byte of %s has changed', (field) => {
    const row = envelope.seal(PLAIN, binding);
    const bytes = Buffer.from(row[field], 'base64');

    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(envelope.open({ ...row, [field]: changed.toString('base64') }, binding)).toEqual({
        ok: false,
        failure: 'refused',
      });
    }
  });

  it('stays shut when parts of two rows are put together', () => {
    const one = envelope.seal(PLAIN, binding);
    const other = envelope.seal(PLAIN, binding);

    expect(envelope.open({ ...one, sealed: other.sealed }, binding)).toEqual({ ok: false, failure: 'refused' });
  });

  it.each([
    { sealed: '' },
    { sealed: 'not base64!' },
    { wrappedDek: 'AAAA' },
    { wrappedDek: '' },
  ] satisfies Partial<SealedSecret>[])('calls %j malformed', (part) => {
    expect(envelope.open({ ...envelope.seal(PLAIN, binding), ...part }, binding)).toEqual({ ok: false, failure: 'malformed' });
  });

  it('says that a row was sealed with another key', () => {
    const other = createEnvelope(kek(2));

    expect(other.kekId).not.toBe(envelope.kekId);
    expect(other.open(envelope.seal(PLAIN, binding), binding)).toEqual({ ok: false, failure: 'unknown_key' });
    // A row that lies about its key is no better.
    expect(other.open({ ...envelope.seal(PLAIN, binding), kekId: other.kekId }, binding)).toEqual({
      ok: false,
      failure: 'refused',
    });
  });

  it('names a key the same in every process, and short', () => {
    expect(createEnvelope(kek(1)).kekId).toBe(envelope.kekId);
    expect(envelope.kekId).toMatch(/^[0-9a-f]{16}$/);
  });

  it('REL-L7: proves at the start that key and database belong together', () => {
    const canary = envelope.makeCanary();

    expect(createEnvelope(kek(1)).checkCanary(canary)).toEqual({ ok: true });
    expect(createEnvelope(kek(2)).checkCanary(canary)).toEqual({ ok: false, failure: 'unknown_key' });
    expect(envelope.checkCanary(canary.slice(0, -8))).toMatchObject({ ok: false });
    expect(envelope.checkCanary('nonsense')).toEqual({ ok: false, failure: 'malformed' });
    expect(envelope.checkCanary('a.b.c.d')).toEqual({ ok: false, failure: 'malformed' });
  });

  it('refuses a key of another size', () => {
    expect(() => createEnvelope(new Secret(new Uint8Array(31)))).toThrow(RangeError);
  });
});
