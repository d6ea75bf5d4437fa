#!/usr/bin/env bash
# A Docker engine for tests alone: its own data, socket, bridge and containerd name space.
#   docker-engine.sh start DIR    prints DOCKER_HOST once it answers     docker-engine.sh stop DIR    ends it by its pid and leaves nothing
# Exit codes: 2 usage, 3 cannot run here (not root, no dockerd, no rights), 4 it did not become ready.
set -euo pipefail

verb=${1:-}
dir=${2:-}
[[ $verb =~ ^(start|stop)$ && -n $dir ]] || { echo 'usage: docker-engine.sh start|stop DIR' >&2; exit 2; }
mkdir -p "$dir"
dir=$(realpath "$dir")
socket=unix://$dir/docker.sock
number=$(printf %s "$dir" | cksum | cut -d' ' -f1)
bridge=bt$number
bridge=${bridge:0:15} # the kernel's limit for names of interfaces

say() { printf 'docker-engine: %s\n' "$*" >&2; }

ours() { # prints the pid if the recorded process really is the engine of this folder
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "--data-root $dir/data" && echo "$pid"
}

make_bridge() {
  ip link add "$bridge" type bridge 2>/dev/null || { say 'cannot make a network bridge here'; exit 3; }
  local third=$((number % 250 + 1)) tries=0
  # two engines must not share a network; between the look and the take another may come, so look again after
  while ((tries++ < 250)); do
    ip addr add "10.232.$third.1/24" dev "$bridge"
    [[ $(ip -4 -o addr show to "10.232.$third.0/24" | wc -l) == 1 ]] && break
    ip addr del "10.232.$third.1/24" dev "$bridge"
    third=$((third % 250 + 1))
  done
  ip link set "$bridge" up
}

clean() {
  local mount
  ip link del "$bridge" 2>/dev/null || true
  awk -v d="$dir/" 'index($2, d) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
}

start() {
  [[ $(id -u) == 0 ]] || { say 'only root can start an engine'; exit 3; }
  command -v dockerd >/dev/null && command -v ip >/dev/null || { say 'dockerd or ip is not installed'; exit 3; }
  if ours >/dev/null; then echo "$socket"; return; fi
  clean
  make_bridge
  rm -f "$dir/pid" "$dir/docker.sock"
  mkdir -p "$dir/data" "$dir/exec"
  # with iptables on, a second engine empties the chains of the first
  setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$socket" --bridge "$bridge" \
    --iptables=false --ip6tables=false --userland-proxy=true --containerd-namespace "bt$number" --containerd-plugins-namespace "bt$number-p" \
    >"$dir/log" 2>&1 </dev/null &
  local process=$! tick
  for ((tick = 0; tick < 300; tick++)); do
    if curl -sf --unix-socket "$dir/docker.sock" http://engine/_ping >/dev/null 2>&1; then echo "$socket"; return; fi
    kill -0 "$process" 2>/dev/null || { tail -n 4 "$dir/log" >&2; clean; exit 4; }
    sleep 0.1
  done
  tail -n 4 "$dir/log" >&2
  kill -TERM "$process" 2>/dev/null || true
  exit 4
}

stop() {
  local pid tick
  if pid=$(ours); then
    kill -TERM "$pid"
    for ((tick = 0; tick < 200; tick++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    if kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid"; sleep 0.2; fi
  fi
  # shims outlive an engine that was killed
  local shim
  for shim in /proc/[0-9]*; do
    if tr '\0' ' ' <"$shim/cmdline" 2>/dev/null | grep -qF "$dir/exec"; then kill -KILL "${shim#/proc/}" 2>/dev/null || true; fi
  done
  clean
  rm -rf --one-file-system "$dir"
}

"$verb"
