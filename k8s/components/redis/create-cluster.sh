#!/bin/sh
# Makes one cluster of the three servers, unless they are one already.
set -eu
addresses=
for node in redis-0.redis redis-1.redis redis-2.redis; do
    until redis-cli -h "$node" ping >/dev/null 2>&1; do sleep 1; done
    # The command wants addresses; the nodes tell each other when one changes.
    addresses="$addresses $(getent hosts "$node" | cut -d ' ' -f 1):6379"
done
if redis-cli -h redis-0.redis cluster info | grep -q 'cluster_slots_assigned:16384'; then
    echo 'the cluster is there already'
    exit
fi
# shellcheck disable=SC2086  # three words
exec redis-cli --cluster create $addresses --cluster-yes
