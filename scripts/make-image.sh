#!/usr/bin/env bash
# Makes an image with sshd for sessions on this machine.
#
#   make-image.sh [NAME] [--registry | --host]     NAME is berth-ssh when left out
#
# From scripts/image/Dockerfile where a registry can be reached, else from this machine's own programs (--host: Linux with sshd and scp
# installed; small, and without a package manager). Environment: DOCKER_HOST, IMAGE_BASE (debian:bookworm-slim).
set -euo pipefail

name=berth-ssh
way=auto
for argument in "$@"; do
  case $argument in
    --registry) way=registry ;;
    --host) way=host ;;
    -*) echo "usage: make-image.sh [NAME] [--registry | --host]" >&2; exit 2 ;;
    *) name=$argument ;;
  esac
done
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/image
base=${IMAGE_BASE:-debian:bookworm-slim}

say() { printf 'make-image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

command -v docker >/dev/null || fail 'the docker command is missing: install Docker (package docker.io or docker-ce-cli)'
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
  fail "no Docker engine answers at ${DOCKER_HOST:-the usual socket}: start it (systemctl start docker), set DOCKER_HOST, or join the group docker"

from_registry() {
  docker image inspect "$base" >/dev/null 2>&1 || timeout "${IMAGE_PULL_SECONDS:-120}" docker pull --quiet "$base" >/dev/null || return 1
  docker build --quiet --build-arg BASE="$base" --tag "$name" "$here" >/dev/null
}

# /bin/x -> /usr/bin/x, so that the image is of one piece whatever links this machine has
merged() { case $1 in /bin/* | /sbin/* | /lib/* | /lib64/*) printf '/usr%s' "$1" ;; *) printf %s "$1" ;; esac; }

# put FILE: the file and every library it is linked with
put() {
  local target library
  target=$(merged "$1")
  [[ -e $root$target ]] || install -D -m "$(stat -Lc %a "$1")" "$1" "$root$target"
  while read -r library; do
    target=$(merged "$library")
    [[ -e $root$target ]] || install -D -m 755 "$library" "$root$target"
  done < <(ldd "$1" 2>/dev/null | grep -oE '/[^ )]+')
}

# program NAME: found in the path; aliases (awk, vi) arrive under their own name
program() {
  local file
  file=$(PATH=$PATH:/usr/sbin:/sbin type -P "$1") || return 1
  put "$file"
}

from_host() {
  [[ $(uname -s) == Linux ]] || fail 'only Linux can give its own programs to an image; reach a registry instead'
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  chmod 755 "$root"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{dev,proc,sys,run,home,etc/ssh,etc/berth,var/log}
  mkdir -m 700 "$root/root"
  mkdir -m 1777 "$root/tmp"
  local link
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done

  local needed missing=
  for needed in bash sshd ssh-keygen scp base64 sha256sum sed grep cat ls mkdir mv rm chmod env sleep date mktemp sort hostname nproc; do
    program "$needed" || missing+=" $needed"
  done
  [[ -z $missing ]] || fail "this machine lacks:$missing (Debian: apt-get install openssh-server openssh-client coreutils hostname)"
  local wanted
  for wanted in awk basename chown clear cp cut dd df diff dirname du echo expr false find free gzip head id kill less ln locale md5sum more nice nohup od \
    paste pgrep pkill printf ps pwd readlink realpath rmdir rsync seq shuf split ssh stat stty tail tar tee test timeout top touch tr true tty \
    tput uname uniq uptime vi wc which whoami xargs yes ldconfig; do
    program "$wanted" || true
  done
  ln -sf bash "$root/usr/bin/sh"
  local file sftp=
  for file in /usr/lib/openssh/sshd-session /usr/lib/openssh/sshd-auth /usr/libexec/openssh/sshd-session /usr/libexec/openssh/sshd-auth; do
    if [[ -x $file ]]; then put "$file"; fi
  done
  for file in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server; do
    if [[ -x $file ]]; then put "$file"; sftp=$file; break; fi
  done
  [[ -n $sftp ]] || fail 'this machine lacks sftp-server (Debian: apt-get install openssh-sftp-server)'
  # looked up by name at run time, so that no program is linked with them
  for file in /lib/*-linux-*/libnss_files.so.2 /lib/*-linux-*/libnss_dns.so.2 /lib64/libnss_files.so.2 /lib64/libnss_dns.so.2; do
    if [[ -e $file ]]; then put "$file"; fi
  done
  for file in /lib/terminfo /usr/share/terminfo /etc/terminfo; do # terminals of the common kinds
    local kind
    for kind in x/xterm x/xterm-256color s/screen s/screen-256color t/tmux-256color l/linux v/vt100 d/dumb a/ansi; do
      if [[ -e $file/$kind ]]; then install -D -m 644 "$file/$kind" "$root$(merged "$file/$kind")"; fi
    done
  done
  for file in /etc/ld.so.conf /etc/ld.so.conf.d/*.conf; do # GPU runtimes run ldconfig inside
    if [[ -e $file ]]; then install -D -m 644 "$file" "$root$file"; fi
  done

  printf 'root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$root/etc/group"
  printf 'root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n' >"$root/etc/shadow"
  chmod 640 "$root/etc/shadow"
  printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
  touch "$root"/var/log/{lastlog,wtmp,btmp}
  sed "s,SFTP_SERVER,$sftp," "$here/sshd_config" >"$root/etc/ssh/sshd_config"
  install -m 755 "$here/start.sh" "$root/usr/sbin/berth-start"
  tar -C "$root" --numeric-owner --owner=0 --group=0 -c . | docker import --change 'LABEL berth.sshd=1' \
    --change 'CMD ["/usr/sbin/berth-start"]' --change 'EXPOSE 22' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name" >/dev/null
}

case $way in
  registry) from_registry || fail "cannot build from $base: is a registry reachable? (--host needs none)" ;;
  host) from_host ;;
  auto)
    if reason=$(from_registry 2>&1); then :; else
      say "${reason##*$'\n'}"
      say "no image from $base could be built; taking this machine's own programs"
      from_host
    fi
    ;;
esac
docker image inspect --format "image $name is ready ({{.Size}} bytes)" "$name"
