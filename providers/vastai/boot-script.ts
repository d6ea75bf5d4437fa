import { gzipSync } from 'node:zlib';

/** What their create takes as `onstart`. */
export const LONGEST_SCRIPT = 4_096;

// Runs at every start of the container, by whatever shell; the keys are written once, since a hand-off may have taken the probe key's
// line away again. All data is base64, so nothing of it is ever read as shell.
const KEYS = `umask 077
s=/root/.ssh
mkdir -p $s
if [ ! -e $s/.berth-keys ]; then
echo @KEYS@ | base64 -d > $s/.berth-new
while IFS= read -r k; do
grep -qxF "$k" $s/authorized_keys 2>/dev/null || { [ -s $s/authorized_keys ] && echo; echo "$k"; } >> $s/authorized_keys
done < $s/.berth-new
chmod 700 $s
chmod 600 $s/authorized_keys
mv $s/.berth-new $s/.berth-keys
fi
umask 022
`;
const ORDER = `echo @ORDER@ | base64 -d@UNZIP@ > /root/.berth-on-start
chmod 700 /root/.berth-on-start
/root/.berth-on-start
`;
const SHEBANG = '#!';

/**
 * The script that writes the keys and runs the consumer's own, if there is one. Without room for both, the keys are left to their key
 * API; undefined when the consumer's alone is too long.
 */
export function bootScript({
  keys,
  onStart,
}: {
  readonly keys: readonly string[];
  readonly onStart?: string;
}): string | undefined {
  const lines = keys.map((key) => `${key.trim()}\n`).join('');
  const writeKeys = keys.length === 0 ? '' : KEYS.replace('@KEYS@', () => Buffer.from(lines).toString('base64'));
  const runOrder = onStart === undefined ? '' : orderOf(onStart);
  return [writeKeys + runOrder, runOrder].find((script) => script.length <= LONGEST_SCRIPT);
}

/**
 * The script that writes the keys and then is the template's own, in the same shell, which is the market's; undefined when there is no
 * room for both: then the market runs the template's by itself, and the keys are left to their key API.
 */
export function templateBootScript({ keys, script }: { readonly keys: readonly string[]; readonly script: string }) {
  const writeKeys = bootScript({ keys }) ?? '';
  const whole = writeKeys + (script.startsWith(SHEBANG) ? orderOf(script) : `${script}\n`);
  return writeKeys === '' || whole.length > LONGEST_SCRIPT ? undefined : whole;
}

/** Packed when that is shorter. */
function orderOf(onStart: string): string {
  const script = Buffer.from(onStart.startsWith(SHEBANG) ? onStart : `#!/bin/sh\n${onStart}\n`);
  const plain = script.toString('base64');
  const packed = gzipSync(script, { level: 9 }).toString('base64');
  const isPacked = packed.length + ' | gzip -dc'.length < plain.length;
  return ORDER.replace('@ORDER@', () => (isPacked ? packed : plain)).replace('@UNZIP@', isPacked ? ' | gzip -dc' : '');
}
