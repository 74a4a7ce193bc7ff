#!/bin/sh
# Work that only the leader does, with curl: for cron jobs and the like. Does it once, and only where this instance leads.
#   sh curl.sh echo hello      ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
# The command gets ELECTORD_FENCING_TOKEN, to be passed on to whatever it writes to, which refuses a lower one than it has
# seen; and it is killed when what the sidecar said runs out. Exit code 75: this instance does not lead.
set -eu
sidecar=${ELECTORD_LOCAL_URL:-http://127.0.0.1:4041}

# Milliseconds of a clock that nobody sets (Linux).
now_ms() { awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime; }
field() { printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\{0,1\}\([0-9]*\).*/\1/p"; }

# Counted from BEFORE asking: the answer may have been long on its way.
asked=$(now_ms)
# 503, and so no success, from whoever does not lead.
answer=$(curl --silent --fail --max-time 1 "$sidecar/leader") || exit 75

# The last fencingToken of the answer is this instance's own.
ELECTORD_FENCING_TOKEN=$(field fencingToken)
export ELECTORD_FENCING_TOKEN
left_ms=$((asked + $(field validForMs) - $(now_ms)))
[ "$left_ms" -gt 0 ] || exit 75
exec timeout --signal=KILL "$(awk "BEGIN { print $left_ms / 1000 }")" "$@"
