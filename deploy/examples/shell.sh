#!/bin/sh
# Work that only the leader does, in a script beside a sidecar that runs already: waits until this instance leads, then
# works as long as it does.
#   sh shell.sh                ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
# Where the work is one long-running program, `electord run` is the better way: it starts the program when this instance is
# elected and has it dead before another can be:
#   electord run --election=orders -- sh worker.sh
set -eu
: "${WORK:=echo work done, fencing token}"

while :; do
  electord wait --for leader > /dev/null
  # Each piece of work asks for a hold of its own, is over within it, and passes the fencing token on: see curl.sh.
  while sh "$(dirname "$0")/curl.sh" sh -c "$WORK \$ELECTORD_FENCING_TOKEN"; do
    sleep 0.2
  done
done
