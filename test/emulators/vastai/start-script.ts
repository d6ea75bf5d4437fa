const PUBLIC_KEY = /^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/]+=*( .*)?$/;

/** The keys that a start script writes into its SSH folder as base64. No script is run here; what else one does is not seen. */
export function keysWrittenBy(onstart: string): readonly string[] {
  const [, packed = ''] = /echo ([A-Za-z0-9+/]+=*) \| base64 -d > \$s\//.exec(onstart) ?? [];
  const lines = Buffer.from(packed, 'base64').toString('utf8').split('\n');
  return lines.filter((line) => PUBLIC_KEY.test(line));
}
