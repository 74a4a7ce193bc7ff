#!/bin/sh
# What `electord run` runs: it lives only while this instance leads, and ends at SIGTERM.
#   electord run --election=orders -- sh worker.sh
set -eu
trap 'echo "stopping, fencing token $ELECTORD_FENCING_TOKEN"; exit 0' TERM

while :; do
  # The token goes with everything that is written: whatever receives it refuses a lower one than it has seen.
  echo "work done, fencing token $ELECTORD_FENCING_TOKEN"
  sleep 0.2
done
