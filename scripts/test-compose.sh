#!/usr/bin/env bash
# Test the deployment: start docker-compose.yml from nothing, load it, kill its containers, search it, take it down.
#
#   scripts/test-compose.sh [--ha] [PYTEST ARGUMENTS]        --ha: with deploy/compose.ha.yml
#
# Needs a Docker engine with Compose. Where none answers, and ENGINE_KIT names a folder with install-docker.sh,
# docker-up.sh, docker-down.sh and local-base-images.sh, these install and start one and make base images from packages, for
# machines that reach no image registry. Without either, or where they cannot, it says so: exit status 3.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_TEST_PROJECT=visit-counter-test
SECONDS_MAX=900
NOT_RUN=3

tests=tests/compose
if [ "${1:-}" = --ha ]; then tests=tests/compose_ha COMPOSE_TEST_PROJECT=visit-counter-test-ha; shift; fi
kit=${ENGINE_KIT:-}
is_ours=
answers() { timeout 20 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

# Whatever happens, nothing is left running, and nothing of it on the disk.
clean_up() {
  local ours="label=com.docker.compose.project=$COMPOSE_TEST_PROJECT"
  if answers; then
    docker ps -aq --filter "$ours" | xargs -r timeout 60 docker rm -f -v >/dev/null || true
    docker volume ls -q --filter "$ours" | xargs -r timeout 60 docker volume rm -f >/dev/null || true
    docker network ls -q --filter "$ours" | xargs -r timeout 60 docker network rm >/dev/null || true
  fi
  if [ -n "$is_ours" ]; then "$kit/docker-down.sh" || true; fi
}
trap clean_up EXIT

not_run() {
  echo "THE COMPOSE TEST WAS NOT RUN: $1."
  exit "$NOT_RUN"
}

if ! answers; then
  if [ -z "$kit" ] || ! [ -x "$kit/docker-up.sh" ]; then
    not_run "no Docker engine answers${kit:+, and there is no engine kit at $kit}"
  fi
  echo "Preparing a Docker engine from packages"
  timeout 300 "$kit/install-docker.sh" || not_run "the kit installed no engine"
  is_ours=1
  timeout 60 "$kit/docker-up.sh" || not_run "the kit's engine did not start"
fi
if [ -n "$kit" ] && [ -x "$kit/local-base-images.sh" ]; then
  echo "Preparing base images from packages"
  GRAFANA_STUB=1 timeout 420 "$kit/local-base-images.sh" --compose docker-compose.yml || not_run "the kit made no base images"
fi
timeout --kill-after=150 --signal=INT "$SECONDS_MAX" \
  .venv/bin/python -m pytest -m compose "$tests" --durations=10 "$@"
