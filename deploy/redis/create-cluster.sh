#!/bin/sh
# Put the servers of a Redis Cluster together, once; afterwards only look whether it is whole.
#
#   create-cluster.sh HOST:PORT…        the first half are primaries, each has one replica
set -eu
REDISCLI_AUTH=$(cat /run/secrets/password)
export REDISCLI_AUTH
host=${1%:*} port=${1##*:}
ask() { redis-cli -h "$host" -p "$port" --user cluster --no-auth-warning "$@"; }

if ask cluster info | grep -q '^cluster_slots_assigned:0'; then
  redis-cli --user cluster --no-auth-warning --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi
tries=60
until ask cluster info | grep -q '^cluster_state:ok'; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "the cluster does not become whole:"; ask cluster nodes; exit 1; }
  sleep 1
done
echo "the cluster is whole"
