import { z } from 'zod';
import { fromUsd, type MicroUsd } from '../../src/core/money.ts';
import { Secret } from '../../src/core/secret.ts';
import { isLoopbackUrl, mayCarryCredentials, parseBaseUrl } from '../../src/provider/http-client.ts';

/** Where their Host listens for tunnels, unless its configuration says otherwise. */
const SSH_PROXY_PORT = 8002;
const HIGHEST_PRICE_USD = 1_000;

/** Where the Host's SSH proxy is. */
export interface ProxyAddress {
  readonly host: string;
  readonly port: number;
}

/** The variables of HakuRiver and KohakuRiver. */
export const Environment = z
  .object({
    HAKURIVER_HOST_URL: z
      .string()
      .optional()
      .transform((text, context) => {
        if (text === undefined || text.trim() === '') return undefined;
        return parseBaseUrl(text.trim()) ?? refuse(context, 'must be an http or https URL. Example: http://10.0.0.1:8000');
      })
      .meta({ example: 'http://10.0.0.1:8000' })
      .describe('The Host of a HakuRiver or KohakuRiver cluster, with or without /api. Unset: HakuRiver is off.'),
    HAKURIVER_SSH_PROXY: z
      .string()
      .optional()
      .transform((text, context) => {
        if (text === undefined || text.trim() === '') return undefined;
        return parseProxy(text.trim()) ?? refuse(context, 'must be host:port. Example: 10.0.0.1:8002');
      })
      .meta({ example: '10.0.0.1:8002' })
      .describe("The Host's SSH proxy, host:port. Default: the Host's own name, port 8002."),
    HAKURIVER_TOKEN: z
      .string()
      .optional()
      .transform((text, context) => {
        const token = text?.trim() ?? '';
        if (token === '') return undefined;
        return /^[\x21-\x7e]{8,512}$/.test(token)
          ? new Secret(token)
          : refuse(context, 'must be the token itself: 8 to 512 printable characters without spaces');
      })
      .meta({ isSecret: true })
      .describe('An API token of a KohakuRiver with users, of the role operator or higher. Default: none is sent.'),
    HAKURIVER_ALLOW_PLAIN_HTTP: z
      .enum(['true', 'false', ''], 'must be true or false')
      .optional()
      .transform((text) => text === 'true')
      .describe('true: the token may travel over plain HTTP to another machine. Default false.'),
    HAKURIVER_CONTAINER: z
      .string()
      .optional()
      .transform((text, context) => {
        const name = text?.trim() ?? '';
        if (name === '') return undefined;
        // their Runners look for the lower-case name only, and NULL would mean no container at all
        return /^[a-z0-9][a-z0-9_.-]{0,127}$/.test(name)
          ? name
          : refuse(context, `"${text}" must be a name of a-z, 0-9, _, . and -, without capitals: Runners never find those`);
      })
      .meta({ example: 'berth' })
      .describe("The environment (container) that a VPS starts from. Default: the Host's own default."),
    HAKURIVER_PRICE_PER_HOUR: z
      .string()
      .default('0')
      .transform((text, context) => parsePrice(text) ?? refuse(context, `"${text}" is no price. Example: 0.50`))
      .describe('Dollars an hour for one GPU, or for a whole machine that has none. Default 0.'),
  })
  .superRefine(({ HAKURIVER_TOKEN: token, HAKURIVER_HOST_URL: url, HAKURIVER_ALLOW_PLAIN_HTTP: allowPlainHttp }, context) => {
    if (token === undefined || url === undefined || mayCarryCredentials(url, { allowPlainHttp })) return;
    context.addIssue({
      code: 'custom',
      path: ['HAKURIVER_HOST_URL'],
      message:
        'would carry the token unencrypted to another machine: use https, or set HAKURIVER_ALLOW_PLAIN_HTTP=true to allow that',
    });
  });

export type Environment = z.infer<typeof Environment>;

export function proxyOf({ HAKURIVER_SSH_PROXY: proxy }: Environment, baseUrl: URL): ProxyAddress {
  return proxy ?? { host: bareHost(baseUrl), port: SSH_PROXY_PORT };
}

/** Without the brackets of an IPv6 address. */
export function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

/**
 * The machine behind a node's URL, or undefined where dialling it would reach another one: a Runner that was not told its own address registers
 * as 127.0.1.1, which here would be this very machine.
 */
export function dialableNode(nodeUrl: string | undefined, baseUrl: URL): URL | undefined {
  const url = nodeUrl === undefined ? undefined : parseBaseUrl(nodeUrl);
  return url === undefined || (isLoopbackUrl(url) && !isLoopbackUrl(baseUrl)) ? undefined : url;
}

function parseProxy(text: string): ProxyAddress | undefined {
  const [, host, port] = /^(?:tcp:\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):(\d{1,5})$/.exec(text) ?? [];
  const number = Number(port);
  if (host === undefined || !(number >= 1 && number <= 65_535)) return undefined;
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: number };
}

function parsePrice(text: string): MicroUsd | undefined {
  const price = text.trim() === '' ? '0' : text.trim();
  if (!/^\d+(\.\d+)?$|^\.\d+$/.test(price) || Number(price) > HIGHEST_PRICE_USD) return undefined;
  return fromUsd(price);
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
