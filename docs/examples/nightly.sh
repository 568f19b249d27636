#!/usr/bin/env bash
# Audit a registry. Print something only when something changed or went wrong, so that cron mails it.
#
#     17 3 * * *  /srv/models/nightly.sh /srv/models/registry.yaml /srv/models/audit
#
# The first argument is a registry, a suite or a folder of models. The second is a folder, which keeps the
# history, the last night's results (results.json, last.txt), and a lock. The lock keeps two nights from overlapping.
set -euo pipefail

registry=$1
state=$2
mkdir -p "$state"

exec 9> "$state/lock"
if ! flock --nonblock 9; then
    echo "the audit of $registry that was begun before is still at work"
    exit 0
fi

code=0
provenance audit "$registry" --history "$state/history.sqlite" --results "$state/results.json" \
    --fail-on-change --quiet > "$state/last.txt" 2>&1 || code=$?
if [ "$code" -ne 0 ]; then
    cat "$state/last.txt"
fi
exit "$code"
