#!/bin/sh
# Process of a session's container: puts the keys in place, makes a host key at the first start, starts the session's own
# script in the background and stays as sshd. Keys are data: a file that the runner put in, or $SSH_PUBLIC_KEYS, one a line.
set -eu
umask 022

mkdir -p /run/sshd /root/.ssh /var/log
chmod 0755 /run/sshd
chmod 0700 /root/.ssh

if [ -n "${SSH_PUBLIC_KEYS:-}" ]; then
  printf '%s\n' "$SSH_PUBLIC_KEYS" >/root/.ssh/authorized_keys
  chmod 0600 /root/.ssh/authorized_keys
fi
unset SSH_PUBLIC_KEYS
if [ ! -e /root/.ssh/authorized_keys ]; then
  echo 'no key: neither /root/.ssh/authorized_keys nor $SSH_PUBLIC_KEYS' >&2
  exit 64
fi

# the public half appears last, whole: whoever reads it may believe it
if [ ! -s /etc/ssh/ssh_host_ed25519_key.pub ]; then
  rm -f /etc/ssh/ssh_host_ed25519_key /etc/ssh/.new /etc/ssh/.new.pub
  ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/.new
  mv /etc/ssh/.new /etc/ssh/ssh_host_ed25519_key
  mv /etc/ssh/.new.pub /etc/ssh/ssh_host_ed25519_key.pub
fi

if [ -x /etc/berth/on-start ]; then
  # a script without a first line that names its interpreter is run by sh
  (cd /root && { /etc/berth/on-start || { [ $? != 126 ] || sh /etc/berth/on-start; }; }) >/var/log/berth-on-start.log 2>&1 </dev/null &
fi

exec /usr/sbin/sshd -D -e
