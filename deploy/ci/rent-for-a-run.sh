#!/usr/bin/env bash
# Rents a machine for one command, runs the command there over SSH, and gives the machine back whatever happens.
#
#   rent-for-a-run.sh COMMAND [ARGUMENT...]        the words are given to ssh as they are: the machine's shell reads them
#
# Environment:
#   BERTH_URL        where Berth answers (http://127.0.0.1:8080)
#   BERTH_API_KEY    the key, where keys are configured
#   BERTH_WANTED     the machine, as fields of POST /api/v1/sessions ({"gpu_count": 1})
#   BERTH_HOURS      the longest that it may be rented, fractions allowed (0.5): Berth ends it by itself then, whatever became of this script
#   BERTH_BOOT_SECONDS   how long it may take until the machine runs (900)
#
# Exit code: that of the command. 75: no machine could be had. 74: the machine could not be given back. 255: ssh lost the machine.
# Needs bash, curl, jq, ssh and ssh-keygen.
set -euo pipefail
if (($# == 0)); then
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2
  exit 64
fi

url=${BERTH_URL:-http://127.0.0.1:8080}
hours=${BERTH_HOURS:-0.5}
wanted=${BERTH_WANTED:-}
[[ -n $wanted ]] || wanted='{"gpu_count": 1}'
run=run-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n') # the Idempotency-Key: whoever repeats it gets the same session
folder=$(mktemp -d)
asked=0 session='' child='' ending=0

say() { printf 'rent-for-a-run: %s\n' "$*" >&2; }

# Waits for a program, and can be interrupted while it does: bash leaves a signal unheard until what runs in the foreground has ended.
patiently() {
  local code=0
  if ((ending)); then # nothing may interrupt it any more, and "wait" inside a trap may not wait
    "$@" || code=$?
  else
    "$@" <&0 &
    child=$!
    wait "$child" || code=$?
    child=''
  fi
  return "$code" # the code has to be given: a bare return inside a trap gives that of the command before the trap
}

# api METHOD PATH [BODY]: the answer lies in $folder/answer.json afterwards; fails unless it is a 2xx
api() {
  rm -f "$folder/answer.json"
  local headers=(-H "Idempotency-Key: $run")
  [[ -z ${BERTH_API_KEY:-} ]] || headers+=(-H "Authorization: Bearer $BERTH_API_KEY")
  patiently curl --silent --show-error --fail-with-body --max-time 120 --request "$1" "${headers[@]}" \
    --output "$folder/answer.json" ${3:+--header 'Content-Type: application/json' --data "$3"} "$url$2"
}

answer() { jq --raw-output "$1 // empty" "$folder/answer.json" 2>/dev/null; }

ask() {
  asked=1
  if ! api POST '/api/v1/sessions?wait=0' "$order"; then
    # A clear refusal: there is no session. Anything else (no answer, half of one) may have made one.
    [[ ! $(answer .error_type) =~ ^(invalid_request|unauthorized|forbidden|no_capacity|stale_inventory|rate_limited|not_ready)$ ]] || asked=0
    return 1
  fi
  session=$(answer .session.id)
  [[ -n $session ]]
}

# give_back CODE: ends the session, and the script with this exit code
give_back() {
  local code=$1 tries=0
  trap '' INT TERM HUP # a second signal must not stop this
  trap - EXIT
  ending=1
  [[ -z $child ]] || kill "$child" 2>/dev/null || true
  while ((asked && tries++ < 5)); do
    # Without an id the answer was lost, or never came: the same key joins that session, so that it can be ended.
    if { [[ -n $session ]] || ask; } && api DELETE "/api/v1/sessions/$session?wait=60"; then
      say "$session is $(answer .status): the machine was given back"
      asked=0
    else
      sleep "$tries"
    fi
  done
  if ((asked)); then
    say "the machine could not be given back (${session:-its session is not known}, Idempotency-Key $run): Berth ends it after $hours h"
    ((code)) || code=74
  fi
  rm -rf "$folder"
  exit "$code"
}
trap 'give_back $?' EXIT
trap 'give_back 129' HUP
trap 'give_back 130' INT
trap 'give_back 143' TERM

ssh-keygen -q -t ed25519 -N '' -C "$run" -f "$folder/key"
order=$(jq --null-input --compact-output --argjson wanted "$wanted" --argjson hours "$hours" \
  --arg key "$(cat "$folder/key.pub")" --arg name "$run" \
  '$wanted + {reservation_hours: $hours, ssh_public_key: $key, name: $name, auto_retry: true}')

if ! ask; then
  say "no machine: $(answer .error || true)"
  exit 75
fi
say "$session is asked for"

deadline=$((SECONDS + ${BERTH_BOOT_SECONDS:-900}))
status=pending
while [[ $status == pending || $status == provisioning ]]; do
  if ((SECONDS >= deadline)); then
    say "$session is still $status after ${BERTH_BOOT_SECONDS:-900} s"
    exit 75
  fi
  if api GET "/api/v1/sessions/$session?wait=20"; then status=$(answer .status); else sleep 2; fi
done
if [[ $status != running ]]; then
  say "no machine: $session is $status: $(answer '.error // .reason')"
  exit 75
fi
say "$session runs: $(answer '"\(.gpu_count) x \(.gpu_type) at \(.price_per_hour) USD/h, \(.ssh_host):\(.ssh_port)"')"

# The host key was pinned when the machine was proven: nobody can stand between.
answer '"machine \(.ssh_host_key)"' >"$folder/known_hosts"
patiently ssh -F none -i "$folder/key" -p "$(answer .ssh_port)" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
  -o HostKeyAlias=machine -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$folder/known_hosts" \
  -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
  "$(answer .ssh_user)@$(answer .ssh_host)" "$@"
