import net from 'node:net';
import { z } from 'zod';
import ssh2 from 'ssh2';
import { FakeClock } from '../../support/fake-clock.ts';
import { startHakuRiverEmulator } from '../../../providers/hakuriver/emulator.ts';
import type { HakuRiverEmulator, HakuRiverEmulatorOptions } from '../../../providers/hakuriver/emulator.ts';
import { generateSshKeyPair } from '../../../src/core/openssh-key-pair.ts';
import type { SshKeyPair } from '../../../src/core/openssh-key-pair.ts';
import { parseWide } from './wide-json.ts';

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: Json;
  readonly list: readonly Json[];
  readonly headers: Headers;
}

export interface TestClient {
  readonly emulator: HakuRiverEmulator;
  readonly clock: FakeClock;
  /** A pair whose public half bears this comment. */
  key(comment?: string): SshKeyPair;
  /** At the Host, or at another URL. */
  call(method: string, path: string, body?: unknown, base?: string): Promise<Answer>;
  /** `POST /submit` of a VPS on node-1. */
  submit(publicKey: string, more?: Json): Promise<Answer>;
  /** A running VPS; its id. With H and K by their own route. */
  rent(publicKey: string, more?: Json): Promise<string>;
  /** Resolves as soon as so many VPS have a row: what a submit that is held back has made. */
  listed(count: number): Promise<readonly string[]>;
  status(id: string): Promise<Json>;
  /** Of `/vps/status`. */
  active(id: string): Promise<Json | undefined>;
  portOf(id: string): Promise<number>;
  runnerUrl(hostname: string): Promise<string>;
  /** Says a line to the SSH proxy; what came back until it closed, or until nothing more came for a while. */
  dial(line: string | null, waitMs?: number): Promise<Dialled>;
  tunnel(id: string, waitMs?: number): Promise<Dialled>;
  /** As far as the first line of sshd, through the proxy. */
  banner(id: string): Promise<string>;
  /** Runs a command in the VPS, through the proxy. */
  ssh(id: string, privateKey: string, command: string): Promise<string>;
}

export interface Dialled {
  readonly text: string;
  readonly end: 'open' | 'closed' | 'error';
}

const AnyJson = z.record(z.string(), z.unknown());

/** A cluster that stands still unless it is advanced, where a start takes no time unless asked for, and a plain client of it. */
export async function withCluster<T>(
  options: Partial<HakuRiverEmulatorOptions>,
  use: (client: TestClient) => Promise<T>,
): Promise<T> {
  const clock = new FakeClock('2026-11-22T03:33:00Z');
  const emulator = await startHakuRiverEmulator({
    clock,
    seed: 7,
    ...options,
    knobs: { runMs: 0, sshdDelayMs: 0, ...options.knobs },
  });
  try {
    return await use(clientOf(emulator, clock));
  } finally {
    await emulator.close();
  }
}

function clientOf(emulator: HakuRiverEmulator, clock: FakeClock): TestClient {
  const isSeed = emulator.dialect === 'P' || emulator.dialect === 'S';
  const base = `${emulator.url}${emulator.dialect === 'K' ? '/api' : ''}`;
  const call = async (method: string, path: string, body?: unknown, at = base): Promise<Answer> => {
    const response = await fetch(`${at}${path}`, {
      method,
      headers: {
        connection: 'close',
        'content-type': 'application/json',
        ...(emulator.tokens && { authorization: `Bearer ${emulator.tokens.operator}` }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const value = parsed(text);
    const list = z.array(AnyJson).safeParse(value);
    const json = AnyJson.safeParse(value);
    return { status: response.status, text, json: json.data ?? {}, list: list.data ?? [], headers: response.headers };
  };
  const submit = (publicKey: string, more: Json = {}) =>
    call('POST', '/submit', { task_type: 'vps', command: publicKey, required_cores: 1, targets: ['node-1'], ...more });
  const active = async (id: string) => (await call('GET', '/vps/status')).list.find((row) => row['task_id'] === id);
  const dial = (line: string | null, waitMs = 150) => dialPort(emulator.proxyPort, line, waitMs);
  return {
    emulator,
    clock,
    key: (comment = '') => generateSshKeyPair(comment),
    call,
    submit,
    async rent(publicKey, more = {}) {
      const answer = isSeed
        ? await submit(publicKey, more)
        : await call('POST', '/vps/create', {
            target_hostname: 'node-1',
            ssh_key_mode: 'upload',
            ssh_public_key: publicKey,
            ...more,
          });
      const id = isSeed ? z.array(z.string()).parse(answer.json['task_ids'])[0] : answer.json['task_id'];
      return z.string({ error: () => `create answered ${answer.status} ${answer.text}` }).parse(id);
    },
    async listed(count) {
      for (let tries = 0; tries < 200; tries += 1) {
        const { list } = await call('GET', '/vps');
        if (list.length >= count) return list.map((row) => String(row['task_id']));
      }
      throw new Error(`there are fewer than ${count} VPS`);
    },
    status: async (id) => (await call('GET', `/status/${id}`)).json,
    active,
    portOf: async (id) => z.number().parse((await active(id))?.['ssh_port']),
    async runnerUrl(hostname) {
      const node = (await call('GET', '/nodes')).list.find((row) => row['hostname'] === hostname);
      return `${z.string().parse(node?.['url'])}${emulator.dialect === 'K' ? '/api' : ''}`;
    },
    dial,
    tunnel: (id, waitMs) => dial(`REQUEST_TUNNEL ${id}\n`, waitMs),
    banner: (id) => bannerOf(emulator.proxyPort, `REQUEST_TUNNEL ${id}\n`),
    ssh: (id, privateKey, command) => sshThrough(emulator.proxyPort, id, { privateKey, command }),
  };
}

function parsed(text: string): unknown {
  try {
    return parseWide(text);
  } catch {
    return undefined;
  }
}

const FIRST_BYTE_MS = 5_000;

/** One conversation: what came back, and how it stood when nothing more came. A line is answered, however slow the machine is. */
export function dialPort(port: number, line: string | null, waitMs = 150): Promise<Dialled> {
  return new Promise((resolve) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () => line !== null && socket.write(line));
    const finish = (end: Dialled['end']) => {
      clearTimeout(quiet);
      socket.destroy();
      resolve({ text, end });
    };
    const listen = (ms: number) => setTimeout(() => finish('open'), ms);
    let quiet = listen(line === null ? waitMs : FIRST_BYTE_MS);
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      clearTimeout(quiet);
      quiet = listen(waitMs);
    });
    socket.on('end', () => finish('closed'));
    socket.on('error', () => finish('error'));
  });
}

/** What came until sshd had said its first line, or until the end. */
export function bannerOf(port: number, line = ''): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(line));
    const finish = () => {
      socket.destroy();
      resolve(text);
    };
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      if (/SSH-2\.0-[^\n]*\n/.test(text)) finish();
    });
    socket.on('end', finish).on('error', finish);
  });
}

/** The command's output, or how the login failed: the proxy's line, `hangs`, `refused` for its key. */
async function sshThrough(
  proxyPort: number,
  id: string,
  { privateKey, command }: { readonly privateKey: string; readonly command: string },
): Promise<string> {
  const socket = net.connect(proxyPort, '127.0.0.1');
  socket.write(`REQUEST_TUNNEL ${id}\n`);
  const line = await firstLine(socket);
  if (line !== 'SUCCESS') return line;
  return new Promise((resolve) => {
    const client = new ssh2.Client();
    let output = '';
    const finish = (text: string) => {
      client.end();
      socket.destroy();
      resolve(text);
    };
    client.on('error', (error) => finish(error.level === 'client-authentication' ? 'refused' : 'hangs'));
    client.on('ready', () => {
      client.exec(command, (error, stream) => {
        if (error) return finish(String(error));
        stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
        stream.on('close', () => finish(output));
      });
    });
    client.connect({ sock: socket, username: 'root', privateKey, readyTimeout: 1_000 });
  });
}

/** What sshd on this port shows as its host key. */
export function hostKeyAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    const hostVerifier = (key: Buffer) => {
      resolve(key.toString('base64'));
      return false;
    };
    client.on('error', reject);
    client.connect({ host: '127.0.0.1', port, username: 'root', hostVerifier });
  });
}

function firstLine(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    let head = Buffer.alloc(0);
    const onData = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf(10);
      if (end < 0) return;
      socket.off('data', onData).pause();
      if (head.length > end + 1) socket.unshift(head.subarray(end + 1));
      resolve(head.subarray(0, end).toString());
    };
    socket.on('data', onData).on('end', () => resolve('closed'));
  });
}
