#!/usr/bin/env bash
# Install the programs that the tests start, where they are missing: redis-server, Java 17 or newer and
# Maven (they run and fetch the Kafka broker), a Chromium, a font with the Vietnamese letters, Node.js with npm
# (they check the types of widget and dashboards and that its minified file is its source's), nginx, Apache and
# Caddy (the recipes of docs/proxy.md are run on them), and Prometheus, Alertmanager and the Redis exporter
# (alerts and dashboards are run on them).
#
#   scripts/test-tools.sh          what the tests start
#   scripts/test-tools.sh bench    what the benchmarks start: wrk too, and no browser
#
# Uses apt-get, as root or through sudo. Where neither is possible it says what to type, and stops.
set -euo pipefail

JAVA_MAJOR_MIN=17
purpose=${1:-test}
case $purpose in test | bench) ;; *) echo "usage: scripts/test-tools.sh [test|bench]" >&2; exit 2 ;; esac

has() { command -v "$1" >/dev/null 2>&1; }
java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
has_java() { has java && [ "$(java_major)" -ge "$JAVA_MAJOR_MIN" ] 2>/dev/null; }
has_browser() { has chromium || has google-chrome || has chromium-browser; }
# Where servers are, which a user's PATH may leave out.
has_server() { has "$1" || [ -x "/usr/sbin/$1" ]; }
# U+1EF1, "ự": a letter that only fonts made for Vietnamese carry.
has_font() { has fc-list && [ -n "$(fc-list ':charset=1ef1' family 2>/dev/null | head -n 1)" ]; }

missing=() wished=
{ has redis-server && has redis-cli; } || missing+=(redis-server)
has_java || missing+=(default-jre-headless)
has mvn || missing+=(maven)
if [ "$purpose" = bench ]; then
  has wrk || missing+=(wrk)
else
  has_browser || missing+=(chromium)
  { has node && has npm; } || missing+=(nodejs npm)
  has_font || missing+=(fontconfig fonts-dejavu-core)
  has_server nginx || missing+=(nginx-light)
  has_server apache2 || missing+=(apache2-bin)
  { has prometheus && has promtool; } || missing+=(prometheus)
  has amtool || missing+=(prometheus-alertmanager)
  has prometheus-redis-exporter || missing+=(prometheus-redis-exporter)
  has_server caddy || wished=caddy
fi
# Not every distribution has it; its test is skipped then.
is_to_be_had() { [ -n "$1" ] && [ -n "$(apt-cache show "$1" 2>/dev/null)" ]; }
[ ${#missing[@]} -gt 0 ] || is_to_be_had "$wished" || exit 0

line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if ! has apt-get; then
  echo "These programs are missing (Debian's names): ${missing[*]}. Install them with your system's tools, then repeat." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
  # Asks for a password only where a person can type it.
  if has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=(sudo)
  elif [ ${#missing[@]} = 0 ]; then
    exit 0
  else
    printf '%s\n' "Programs are missing that only root can install. Type this line as root, then repeat the command:" \
      "    $line" >&2
    exit 1
  fi
fi

echo "Installing: ${missing[*]} $wished"
# Tests start their own servers: those of the packages shall not (Debian policy 9.11, policy-rc.d).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap '"${as_root[@]}" rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
fi
# A broken third-party source in the machine's list must not stop us: the install says whether enough was read.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
  echo "apt-get update reported errors; going on with what it could read." >&2
if is_to_be_had "$wished"; then missing+=("$wished"); fi
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null; then
  printf '%s\n' "Installing failed. Look at the messages above, then type:" "    sudo sh -c '$line'" >&2
  exit 1
fi
