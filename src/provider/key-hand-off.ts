/**
 * What the verifier's last command does, and what a restricted probe key can still do; text that passes between the broker and a
 * login user's shell, built and read back in one file so that both ends agree (the simulated provider reads what others execute).
 *
 * Both are POSIX sh for dash, busybox and bash, wrapped in `sh -c '…'` because the login shell may be fish or csh. Keys are arguments
 * of that script, never part of its text, and hold nothing but a type, base64 and an ownership tag.
 */

export interface HandOff {
  /** `type base64`: after the command this line stands in the login user's authorized_keys, bare of options. */
  readonly consumerKey: string;
  /** `type base64`: no line that lets this key in without restriction stands there any more. */
  readonly probeKey: string;
  readonly probeAfter: ProbeAfter;
}

/** `remove` the probe key's line, or `restrict` it so that it prints a sample and nothing else; `tag` becomes its comment. */
export type ProbeAfter = { readonly kind: 'remove' } | { readonly kind: 'restrict'; readonly tag: string };

export interface HandOffAnswer {
  /** Whether the consumer's line stood there before. */
  readonly consumer: 'present' | 'added';
  readonly probe: 'removed' | 'restricted';
  /** False when the probe key logged in although no file of the user's names it: it is also kept somewhere that was not touched. */
  readonly probeWasListed: boolean;
}

/** What an instance says of its own use. A value that could not be read is absent, and absent is never idle. */
export interface UsageSample {
  /** Percent, the mean over all GPUs. */
  readonly gpuPercent?: number;
  /** Percent of the cores that the instance may use, over one second. */
  readonly cpuPercent?: number;
  /** Established connections to sshd besides the one that asked. */
  readonly sshConnections?: number;
}

const KEY =
  /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,12000}={0,2}$/;
const TAG = /^[a-z0-9-]{1,48}$/;

// Neither script holds a single quote, since it stands between two; the sampler also holds no backslash, since it stands in authorized_keys.
// mv over a single file that a container engine mounted fails (EBUSY): the copy then goes through it.
const HAND_OFF_SCRIPT = `
set -f
umask 077
exec 3>&1
fail() { echo "berth-hand-off-failed $1" >&3; exit 1; }
[ -n "$HOME" ] || fail "HOME is not set"
folder=$HOME/.ssh
mkdir -p "$folder" && chmod 700 "$folder" || fail "cannot make ~/.ssh"
file=$folder/authorized_keys
real=$(readlink -f "$file" 2>/dev/null) && [ -n "$real" ] && file=$real
new=$file.berth.$$
consumer=added listed=no probe=removed
: > "$new" || fail "cannot write in ~/.ssh"
if [ -e "$file" ]; then
  [ -r "$file" ] || fail "cannot read authorized_keys"
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      *"$2"*) listed=yes; continue ;;
      "$1" | "$1 "*) consumer=present ;;
    esac
    printf "%s\\n" "$line" || fail "cannot write in ~/.ssh"
  done < "$file" >> "$new"
fi
if [ $consumer = added ]; then printf "%s\\n" "$1" >> "$new" || fail "cannot write in ~/.ssh"; fi
if [ -n "$3" ]; then probe=restricted; printf "%s\\n" "$3" >> "$new" || fail "cannot write in ~/.ssh"; fi
chmod 600 "$new"
mv -f "$new" "$file" 2>/dev/null || { cat "$new" > "$file" && rm -f "$new"; } || { rm -f "$new"; fail "cannot replace authorized_keys"; }
echo "berth-hand-off-ok consumer=$consumer probe=$probe listed=$listed"
`.trim();

const SAMPLE_SCRIPT = [
  'set -f; exec 2>/dev/null; gpu=- cpu=- ssh=-',
  // GPUs: one that cannot tell (MIG) makes the whole unknown
  'if list=$(nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits); then sum=0 count=0',
  'for each in $list; do case $each in *[!0-9]*) count=0; break;; *) sum=$((sum+each)) count=$((count+1));; esac; done',
  'if [ $count -gt 0 ]; then gpu=$((sum/count)); fi; fi',
  // cores: what the control group allows, else what the scheduler does
  'cores=$(nproc || getconf _NPROCESSORS_ONLN) || cores=1; milli=$((cores*1000)); quota=max period=0; g=/sys/fs/cgroup',
  'if [ -r $g/cpu.max ]; then read -r quota period < $g/cpu.max',
  'else for d in cpu cpu,cpuacct; do if [ -r $g/$d/cpu.cfs_quota_us ]; then read -r quota < $g/$d/cpu.cfs_quota_us; read -r period < $g/$d/cpu.cfs_period_us; fi; done; fi',
  'case $quota in *[!0-9]*|"") period=0;; esac',
  'if [ "${period:-0}" -gt 0 ] && [ $((quota*1000/period)) -lt $milli ]; then milli=$((quota*1000/period)); fi',
  'if [ $milli -lt 1 ]; then milli=1; fi',
  // busy time in microseconds, or nothing
  'used() { if [ -r $g/cpu.stat ]; then while read -r k v; do if [ $k = usage_usec ]; then echo $v; return; fi; done < $g/cpu.stat; fi',
  'for d in cpuacct cpu,cpuacct; do if read -r v < $g/$d/cpuacct.usage; then echo $((v/1000)); return; fi; done; }',
  'uptime() { if read -r t rest < /proc/uptime; then echo ${t%.*}${t#*.}; fi; }',
  'stat() { if read -r k u n s i w q o l rest < /proc/stat; then busy=$((u+n+s+q+o+l)) all=$((u+n+s+q+o+l+i+w)); else busy=0 all=0; fi; }',
  'u1=$(used); t1=$(uptime); stat; b1=$busy a1=$all; sleep 1; u2=$(used); t2=$(uptime); stat',
  'if [ -n "$u1" ] && [ -n "$u2" ] && [ $((t2-t1)) -gt 0 ]; then cpu=$(((u2-u1)*10/((t2-t1)*milli)))',
  'elif [ $((all-a1)) -gt 0 ]; then cpu=$(((busy-b1)*100/(all-a1))); fi',
  'case $cpu in -) ;; -*) cpu=0;; *) if [ $cpu -gt 100 ]; then cpu=100; fi;; esac',
  // connections to the port of our own, without our own
  'set -- $SSH_CONNECTION; if [ $# -eq 4 ]; then ours=:$(printf %04X $2) port=:$(printf %04X $4) live=0 mine=1',
  'for f in /proc/net/tcp /proc/net/tcp6; do if [ -r $f ]; then while read -r n local remote state rest; do',
  'case $state$local in 01*$port) case $remote in *$ours) if [ $mine -eq 1 ]; then mine=0; continue; fi;; esac; live=$((live+1));; esac',
  'done < $f; ssh=$live; fi; done; fi',
  'echo "berth-sample v1 gpu=$gpu cpu=$cpu ssh=$ssh"',
]
  .join('; ')
  .replaceAll('then;', 'then')
  .replaceAll('do;', 'do');

/** Prints one `berth-sample` line within about a second and never fails, whatever is missing on the machine. */
export const SAMPLE_COMMAND = `exec sh -c '${SAMPLE_SCRIPT}'`;

/** The command that hands the machine over; run over the probe's connection as the login user. Throws RangeError for a key that is no plain key. */
export function handOffCommand({ consumerKey, probeKey, probeAfter }: HandOff): string {
  if (!KEY.test(consumerKey)) throw new RangeError('hand-off: the consumer key is not "type base64"');
  if (!KEY.test(probeKey)) throw new RangeError('hand-off: the probe key is not "type base64"');
  if (consumerKey === probeKey) throw new RangeError('hand-off: consumer and probe have the same key');
  const restricted = probeAfter.kind === 'restrict' ? restrictedLine(probeKey, probeAfter.tag) : '';
  return ['exec sh -c', quote(HAND_OFF_SCRIPT), 'berth-hand-off', quote(consumerKey), quote(probeKey), quote(restricted)].join(
    ' ',
  );
}

/** The line under which the probe key can print a sample and do nothing else. */
export function restrictedLine(probeKey: string, tag: string): string {
  if (!KEY.test(probeKey)) throw new RangeError('hand-off: the probe key is not "type base64"');
  if (!TAG.test(tag)) throw new RangeError('hand-off: the tag is not an ownership tag');
  return `restrict,command="${SAMPLE_COMMAND.replaceAll('"', '\\"')}" ${probeKey} ${tag}`;
}

/** What a hand-off command asks for, when the text is one to the letter; undefined for every other command. */
export function parseHandOffCommand(text: string): HandOff | undefined {
  const [, consumerKey, probeKey] = / berth-hand-off '([^']+)' '([^']+)' '/.exec(text) ?? [];
  if (consumerKey === undefined || probeKey === undefined || !KEY.test(consumerKey) || !KEY.test(probeKey)) return undefined;
  if (consumerKey === probeKey) return undefined;
  const tag = / ([a-z0-9-]{1,48})'$/.exec(text)?.[1];
  const probeAfter: ProbeAfter = tag === undefined ? { kind: 'remove' } : { kind: 'restrict', tag };
  const handOff = { consumerKey, probeKey, probeAfter };
  return handOffCommand(handOff) === text ? handOff : undefined;
}

export function formatHandOffAnswer({ consumer, probe, probeWasListed }: HandOffAnswer): string {
  return `berth-hand-off-ok consumer=${consumer} probe=${probe} listed=${probeWasListed ? 'yes' : 'no'}`;
}

/** Finds the acknowledgment among what the login shell may have printed besides; undefined means that the hand-off did not hold. */
export function parseHandOffAnswer(output: string): HandOffAnswer | undefined {
  const answer = /^berth-hand-off-ok consumer=(present|added) probe=(removed|restricted) listed=(yes|no)\r?$/m.exec(output);
  if (answer === null) return undefined;
  return {
    consumer: answer[1] === 'present' ? 'present' : 'added',
    probe: answer[2] === 'removed' ? 'removed' : 'restricted',
    probeWasListed: answer[3] === 'yes',
  };
}

export function formatSample({ gpuPercent, cpuPercent, sshConnections }: UsageSample): string {
  return `berth-sample v1 gpu=${gpuPercent ?? '-'} cpu=${cpuPercent ?? '-'} ssh=${sshConnections ?? '-'}`;
}

/** Finds the sample among what the login shell may have printed besides. Percentages outside 0 to 100 are not believed. */
export function parseSample(output: string): UsageSample | undefined {
  const [, gpu, cpu, ssh] = /^berth-sample v1 gpu=(-|\d{1,3}) cpu=(-|\d{1,3}) ssh=(-|\d{1,6})\r?$/m.exec(output) ?? [];
  if (gpu === undefined || cpu === undefined || ssh === undefined) return undefined;
  const isPercent = (text: string) => text !== '-' && Number(text) <= 100;
  return {
    ...(isPercent(gpu) ? { gpuPercent: Number(gpu) } : {}),
    ...(isPercent(cpu) ? { cpuPercent: Number(cpu) } : {}),
    ...(ssh === '-' ? {} : { sshConnections: Number(ssh) }),
  };
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
