#!/bin/sh
# Work that only the leader does and that is short, with curl. Does it once, and only where this instance leads.
#   sh curl.sh echo hello      ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
# ELECTORD_TOKEN is the bearer token, where the sidecar has one. Nothing that is planned lets another lead within the hold
# that is asked for (ELECTORD_HOLD; default 1s, and at most the sidecar's --max-hold): for so long the command has time, and
# then it is killed. It gets ELECTORD_FENCING_TOKEN, to be passed on to whatever it writes to, which refuses a lower one
# than it has seen. Exit code 75: this instance does not lead. What takes longer is for `electord run`: see worker.sh.
set -eu
sidecar=${ELECTORD_LOCAL_URL:-http://127.0.0.1:4041}

# Milliseconds of a clock that nobody sets (Linux).
now_ms() { awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime; }
field() { printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\{0,1\}\([0-9]*\).*/\1/p"; }

# Counted from BEFORE asking: the answer may have been long on its way.
asked=$(now_ms)
# 503, and so no success, from whoever does not lead.
answer=$(
  # By standard input: arguments are for everybody to read.
  printf '%s' "${ELECTORD_TOKEN:+Authorization: Bearer $ELECTORD_TOKEN}" |
    curl --silent --fail --max-time 1 --header @- "$sidecar/leader?hold=${ELECTORD_HOLD:-1s}"
) || exit 75

# The last fencingToken of the answer is this instance's own.
ELECTORD_FENCING_TOKEN=$(field fencingToken)
export ELECTORD_FENCING_TOKEN
held_ms=$(field heldForMs)
# Less what it takes to start the command, and what the clock rounds off.
left_ms=$((asked + ${held_ms:-0} - $(now_ms) - 50))
[ "$left_ms" -gt 0 ] || exit 75
exec timeout --signal=KILL "$(awk "BEGIN { print $left_ms / 1000 }")" "$@"
