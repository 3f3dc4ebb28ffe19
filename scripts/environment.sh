#!/usr/bin/env bash
# Make .venv hold exactly what uv.lock names, checked by hash.
#
#   scripts/environment.sh run    what `visit-counter` needs
#   scripts/environment.sh dev    the same and the development and test tools
#
# Needs python3 >= 3.11 with venv. Does nothing, in a few milliseconds, when a stamp in .venv says
# that these very uv.lock and pyproject.toml are installed. PYTHON=/path/to/python3 chooses another one.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
mode=${1:-run}
case $mode in run | dev) ;; *) echo "usage: scripts/environment.sh run|dev" >&2; exit 2 ;; esac

die() { printf '%s\n' "$@" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Prints the first python that is new enough, one that can make environments before one that cannot.
find_python() {
  local name fallback=
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    is_new_enough "$name" || continue
    if has_venv "$name"; then echo "$name"; return; fi
    fallback=${fallback:-$name}
  done
  [ -n "$fallback" ] || die \
    "visit-counter needs Python 3.11 or newer and found none (looked for: ${PYTHON:-python3, python3.11 to python3.14})." \
    "On Debian or Ubuntu type:" "    sudo apt-get update && sudo apt-get install -y python3 python3-venv"
  local package
  package=$("$fallback" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  [ "$fallback" = python3 ] && package=python3-venv
  die "$fallback cannot make virtual environments: its venv and ensurepip modules are missing." \
    "On Debian or Ubuntu type this line, then repeat the command:" \
    "    sudo apt-get update && sudo apt-get install -y $package"
}

fingerprint=$(cat uv.lock pyproject.toml scripts/environment.sh | cksum)
is_current() { [ "$(cat ".venv/.installed-$1" 2>/dev/null)" = "$fingerprint" ]; }

# The development environment holds all that running needs.
if is_current dev || { [ "$mode" = run ] && is_current run; }; then exit 0; fi

# A .venv of a copied or moved tree, or of a Python since removed, is made anew.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
  python=$(find_python) || exit 1
  echo "Creating .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
if [ "$(.venv/bin/python -m uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi

# Someone who has the development tools keeps them when only `make run` is typed.
[ -e .venv/.installed-dev ] && mode=dev
flags=(--locked --no-dev --quiet)
[ "$mode" = dev ] && flags+=(--extra dev)
echo "Installing from uv.lock ($mode)"
UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never \
  .venv/bin/python -m uv sync "${flags[@]}" --python .venv/bin/python
rm -f .venv/.installed-run .venv/.installed-dev
echo "$fingerprint" >".venv/.installed-$mode"
