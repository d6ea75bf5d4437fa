/**
 * P: what the package index gives (0.3.0); S: the seed's version (`8610de6`); H: HakuRiver HEAD (`kohakuriver` 0.4.0); K: KohakuRiver HEAD.
 * P and S differ little: how long the Host waits for a Runner, and what a failed start leaves.
 */
export type Dialect = 'P' | 'S' | 'H' | 'K';

export interface DialectFacts {
  /** P and S: keys in `command`, no recovery, malformed refusals of the SSH proxy. */
  readonly isSeed: boolean;
  readonly prefix: '' | '/api';
  /** How long the Host waits for the Runner's answer to a VPS start. */
  readonly runTimeoutMs: number;
  readonly containerPrefix: string;
  readonly imagePrefix: string;
  readonly defaultEnvironment: string;
  /** With the last quotation mark or blank before the text. */
  readonly proxyError: string;
  readonly idsInStatus: 'text' | 'bare';
}

const SEED = {
  isSeed: true,
  prefix: '',
  containerPrefix: 'hakuriver-vps-',
  imagePrefix: 'hakuriver/',
  defaultEnvironment: 'hakuriver-base',
  proxyError: "b'ERROR '",
  idsInStatus: 'text',
} as const;

const LATER = {
  isSeed: false,
  runTimeoutMs: Number.POSITIVE_INFINITY,
  containerPrefix: 'kohakuriver-vps-',
  imagePrefix: 'kohakuriver/',
  defaultEnvironment: 'kohakuriver-base',
  proxyError: 'ERROR ',
} as const;

export const DIALECTS: Readonly<Record<Dialect, DialectFacts>> = {
  P: { ...SEED, runTimeoutMs: 30_000 },
  S: { ...SEED, runTimeoutMs: 600_000 },
  H: { ...LATER, prefix: '', idsInStatus: 'bare' },
  K: { ...LATER, prefix: '/api', idsInStatus: 'text' },
};
