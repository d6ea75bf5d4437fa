#!/usr/bin/env bash
# Installs what the tests need beyond npm's packages, where it is missing: program=package.
set -euo pipefail
needed=(
  dockerd=docker.io docker=docker.io ip=iproute2 iptables=iptables sshd=openssh-server ssh=openssh-client
  chromium=chromium prometheus=prometheus promtool=prometheus sqlite3=sqlite3 jq=jq curl=curl ps=procps
  faketime=faketime strace=strace unshare=util-linux mount=mount
)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

packages=()
for pair in "${needed[@]}"; do
  command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
done
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv) # a part of Python that is no program
if ((${#packages[@]} == 0)); then
  echo 'every program is here'
  exit
fi

sudo=()
if [[ $(id -u) != 0 ]]; then
  sudo -n true 2>/dev/null || { echo "missing: ${packages[*]}; run as root or install them" >&2; exit 1; }
  sudo=(sudo -n)
fi
command -v apt-get >/dev/null || { echo "missing: ${packages[*]}; there is no apt-get here to install them with" >&2; exit 1; }

# Without this file the packages would start an engine, an sshd and a Prometheus for the whole machine.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 755 "$policy"
fi
"${sudo[@]}" apt-get -q update
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${packages[@]}"
