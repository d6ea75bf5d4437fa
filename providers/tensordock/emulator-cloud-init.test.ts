import { describe, expect, it } from 'vitest';
import { keysOfCloudInit, NO_CLOUD_INIT } from '../../test/emulators/tensordock/cloud-init.ts';
import type { CloudInit } from '../../test/emulators/tensordock/cloud-init.ts';
import { withTensorDock } from '../../test/emulators/tensordock/test-client.ts';

const A = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIaaa first';
const B = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIbbb second';
const PACKED = Buffer.from(`${A}\n${B}\n`).toString('base64');

function keysOf(cloudInit: Partial<CloudInit>, fieldKey?: string) {
  return keysOfCloudInit({ ...NO_CLOUD_INIT, ...cloudInit }, fieldKey);
}

describe('runcmd', () => {
  it.each([
    ['a redirection', [`mkdir -p /root/.ssh`, `echo '${A}' >> /root/.ssh/authorized_keys`]],
    [
      'words without a shell',
      [
        ['mkdir', '/root/.ssh'],
        ['sh', '-c', `echo "${A}" > /root/.ssh/authorized_keys`],
      ],
    ],
    ['a pipe', [`mkdir -p ~/.ssh; echo '${A}' | sudo tee -a ~/.ssh/authorized_keys >/dev/null 2>&1`]],
    ['a here document', [`install -d -m 700 /root/.ssh\ncat >> /root/.ssh/authorized_keys <<'EOF'\n${A}\nEOF\n`]],
    ['a condition', [`[ -d /root/.ssh ] || mkdir /root/.ssh`, `if ! grep -qxF '${A}' /root/.ssh/authorized_keys; then printf '%s\\n' '${A}' >> /root/.ssh/authorized_keys; fi`]], // prettier-ignore
    [
      'a variable that a command before has set',
      [`d=/root/.ssh; k="${A}"`, 'mkdir -p "$d" && echo "$k" >> $d/authorized_keys'],
    ],
    ['a case', [`case "$(whoami)" in nobody|x*) exit 1 ;; root) mkdir /root/.ssh; echo '${A}' > /root/.ssh/authorized_keys ;; esac`]], // prettier-ignore
    ['an echo with a line break', ['mkdir /root/.ssh', `echo '#\\n${A}' > /root/.ssh/authorized_keys`]],
    ['a loop that is left, beside one that has no end', ['while true; do sleep 1; done &', `for d in /no /root; do [ -d $d ] || continue; mkdir $d/.ssh; echo '${A}' > $d/.ssh/authorized_keys; break; done`]], // prettier-ignore
    ['a subshell that exits', ['(mkdir /root/.ssh; exit 1) || true', 'while pgrep apt >/dev/null; do sleep 1; done', `echo '${A}' > /root/.ssh/authorized_keys`]], // prettier-ignore
    [
      'a file that is written and moved',
      [`umask 077; mkdir /root/.ssh; echo '${A}' > /tmp/k`, 'mv /tmp/k /root/.ssh/authorized_keys'],
    ],
  ])('brings a key by %s', (_name, runcmd) => {
    expect(keysOf({ runcmd })).toEqual({ user: [], root: [A] });
  });

  it('brings packed keys to both users in a loop, once', () => {
    const runcmd = [
      `for u in root user; do
  h=$(getent passwd "$u" | cut -d: -f6)
  install -d -m 700 -o "$u" "$h/.ssh"
  echo ${PACKED} | base64 -d > /tmp/keys
  while IFS= read -r line; do
    grep -qxF "$line" $h/.ssh/authorized_keys 2>/dev/null || echo "$line" >> $h/.ssh/authorized_keys
  done < /tmp/keys
  chown "$u:$u" "$h/.ssh/authorized_keys"
  chmod 600 "$h/.ssh/authorized_keys"
done`,
    ];

    expect(keysOf({ runcmd: [...runcmd, ...runcmd] }, A)).toEqual({ user: [A, B], root: [A, B] });
  });

  it('brings nothing into a folder that is missing', () => {
    expect(keysOf({ runcmd: [`echo '${A}' >> /root/.ssh/authorized_keys`] })).toEqual({ user: [], root: [] });
  });

  it.each([
    ['sudo', (order: string) => `sudo -u user sh -c "${order}"`],
    ['su', (order: string) => `su - user -c "${order}"`],
    ['runuser', (order: string) => `runuser -u user -- sh -c "${order}"`],
  ])('writes as user, by %s', (_name, as) => {
    const runcmd = [as(`umask 077; mkdir -p ~/.ssh; echo '${A}' >> /home/user/.ssh/authorized_keys`)];

    expect(keysOf({ runcmd })).toEqual({ user: [A], root: [] });
  });

  it.each(['f() { :; }', '[[ -d /root ]]', 'echo `date`', 'sleep $((1 + 1))'])(
    'says at the create that it cannot run %s',
    (command) =>
      withTensorDock({}, async ({ call, order, emulator }) => {
        const answer = await call('POST', 'instances', await order({ cloud_init: { runcmd: [command] } }));

        expect([answer.status, emulator.instances()]).toEqual([500, []]);
        expect(answer.text).toContain('the shell of this emulator');
      }),
  );

  it("does not open user with a file that is root's alone", () => {
    const write = `mkdir -p /home/user/.ssh; echo '${A}' >> /home/user/.ssh/authorized_keys`;

    expect(keysOf({ runcmd: [write] }).user).toEqual([A]);
    expect(keysOf({ runcmd: ['umask 077', write] }).user).toEqual([]);
    expect(keysOf({ runcmd: ['umask 077', write, 'chown -R user:user /home/user/.ssh'] }).user).toEqual([A]);
  });

  it('goes on after a failure, and ends at an exit or at what no shell could read', () => {
    const write = ['mkdir /root/.ssh', `echo '${A}' > /root/.ssh/authorized_keys`];

    expect(keysOf({ runcmd: ['false', 'cp /nothing /else', 'apt-get install -y nothing', ...write] }).root).toEqual([A]);
    expect(keysOf({ runcmd: ['exit 1', ...write] }).root).toEqual([]);
    expect(keysOf({ runcmd: ['echo "never closed', ...write] }).root).toEqual([]);
  });

  it('ends a loop that has no end, and what comes after it', () => {
    expect(keysOf({ runcmd: ['while true; do :; done', 'mkdir /root/.ssh'] })).toEqual({ user: [], root: [] });
  });

  it('takes what is quoted as it is, whatever it says', () => {
    const comment = "$(touch /x); it's `nothing`";
    const runcmd = [
      'mkdir /root/.ssh',
      `echo '${A.replace('first', comment.replace("'", String.raw`'\''`))}' > /root/.ssh/authorized_keys`,
    ];

    expect(keysOf({ runcmd }).root).toEqual([A.replace('first', comment)]);
  });
});

describe('write_files', () => {
  it('EMU-TE12: is done before there is a user, so that it brings keys to root only', () => {
    const file = (home: string, owner: string) => ({
      path: `${home}/.ssh/authorized_keys`,
      content: `${A}\n`,
      owner,
      permissions: '0644',
    });

    expect(keysOf({ write_files: [file('/root', 'root:root'), file('/home/user', 'user:user')] })).toEqual({
      user: [],
      root: [A],
    });
  });

  it('EMU-TE12: knows no encoding: what is packed stays packed', () => {
    const packed = { path: '/root/.ssh/authorized_keys', content: Buffer.from(A).toString('base64'), encoding: 'b64' };

    expect(keysOf({ write_files: [packed] }).root).toEqual([]);
  });

  it('writes a script that runcmd may run', () => {
    const script = {
      path: '/usr/local/bin/keys.sh',
      content: `#!/bin/sh\nmkdir -p /root/.ssh\necho '${A}' > /root/.ssh/authorized_keys\n`,
    };

    expect(keysOf({ write_files: [script], runcmd: ['sh /usr/local/bin/keys.sh'] }).root).toEqual([A]);
    expect(keysOf({ write_files: [script], runcmd: [['/usr/local/bin/keys.sh']] }).root).toEqual([A]);
  });
});
