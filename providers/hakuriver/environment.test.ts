import { describe, expect, it } from 'vitest';
import { dialableNode, Environment, proxyOf } from './environment.ts';
import { hakuriver } from './index.ts';

const parse = (variables: Readonly<Record<string, string>>) => Environment.parse(variables);
const complaint = (variables: Readonly<Record<string, string>>) =>
  Environment.safeParse(variables).error?.issues[0]?.message ?? '';

describe('the variables of HakuRiver', () => {
  it('turn it on by the address of a Host', () => {
    expect(hakuriver.isOn(parse({}), { otherIsOn: false })).toBe(false);
    expect(hakuriver.isOn(parse({ HAKURIVER_HOST_URL: '' }), { otherIsOn: false })).toBe(false);
    expect(hakuriver.isOn(parse({ HAKURIVER_HOST_URL: 'http://10.0.0.1:8000' }), { otherIsOn: false })).toBe(true);
  });

  it('find the SSH proxy beside the Host, unless it is named', () => {
    const url = new URL('http://[fd00::1]:8000');
    expect(proxyOf(parse({}), url)).toEqual({ host: 'fd00::1', port: 8_002 });
    expect(proxyOf(parse({ HAKURIVER_SSH_PROXY: '[::1]:9' }), url)).toEqual({ host: '::1', port: 9 });
    expect(proxyOf(parse({ HAKURIVER_SSH_PROXY: 'gate.example:8002' }), url)).toEqual({ host: 'gate.example', port: 8_002 });
  });

  it.each(['gate', 'gate:', 'gate:0', 'gate:70000', 'http://gate:1/x', '::1:22'])('refuse "%s" as an SSH proxy', (text) => {
    expect(complaint({ HAKURIVER_SSH_PROXY: text })).toMatch(/host:port/);
  });

  it.each(['NULL', 'Torch', 'a b', "a'b", '../etc'])(
    'HAKU-9.5, HAKU-9.9: refuse the environment "%s", which no Runner finds',
    (name) => {
      expect(complaint({ HAKURIVER_CONTAINER: name })).toContain(name);
    },
  );

  it('price a GPU at nothing unless told', () => {
    expect(parse({}).HAKURIVER_PRICE_PER_HOUR).toBe(0);
    expect(parse({ HAKURIVER_PRICE_PER_HOUR: '0.25' }).HAKURIVER_PRICE_PER_HOUR).toBe(250_000);
    expect(complaint({ HAKURIVER_PRICE_PER_HOUR: '1e3' })).toContain('no price');
  });

  it('let no token travel unencrypted to another machine without leave', () => {
    const variables = { HAKURIVER_HOST_URL: 'http://10.0.0.1:8000', HAKURIVER_TOKEN: '0123456789abcdef' };
    expect(complaint(variables)).toContain('unencrypted');
    expect(complaint({ ...variables, HAKURIVER_ALLOW_PLAIN_HTTP: 'true' })).toBe('');
    expect(complaint({ ...variables, HAKURIVER_HOST_URL: 'http://127.0.0.1:8000' })).toBe('');
  });
});

describe('dialableNode', () => {
  const remote = new URL('http://10.0.0.1:8000');

  it('HAKU-9.4: never takes this machine for a Runner that registered without its address', () => {
    expect(dialableNode('http://127.0.1.1:8001', remote)).toBeUndefined();
    expect(dialableNode('http://localhost:8001', remote)).toBeUndefined();
    expect(dialableNode('http://127.0.1.1:8001', new URL('http://127.0.0.1:8000'))?.host).toBe('127.0.1.1:8001');
  });

  it('takes what a node says for an address', () => {
    expect(dialableNode('http://10.0.0.7:8001', remote)?.hostname).toBe('10.0.0.7');
    expect(dialableNode('not a url', remote)).toBeUndefined();
    expect(dialableNode(undefined, remote)).toBeUndefined();
  });
});
