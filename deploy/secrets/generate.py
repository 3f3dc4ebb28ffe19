"""Make the passwords of this deployment, once, and the files that carry them: one folder a reader, each mounted alone.

Runs before everything else, without a network, and changes no password that is there. What follows from them (the users of Redis,
the services' addresses of it) is written anew every time, so that a release may change it. To change all passwords, stop the
deployment and remove the volume `secrets`.

    generate.py FOLDER USERS_ACL
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sys
from pathlib import Path

SERVICES = ("ingest", "aggregator", "api", "operator")
PASSWORD_BYTES = 32
REDIS = os.environ.get("REDIS_URL", "redis://redis:6379/0")
"""Where the store is; user and password are put in after `://`."""


def main() -> None:
    """Make what is missing and write what follows from it."""
    folder, template = Path(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8")
    lines = [line for line in template.splitlines() if line and not line.startswith("#")]
    users = "\n".join(lines) + "\n"
    names = sorted({*re.findall(r"\{(\w+)\}", users), "grafana"})
    passwords = {name: _password(folder / "passwords" / name) for name in names}
    hashes = {
        name: f"#{hashlib.sha256(text.encode()).hexdigest()}" for name, text in passwords.items()
    }
    _write(
        folder / "redis" / "users.acl",
        re.sub(r"\{(\w+)\}", lambda found: hashes[found[1]], users),
    )
    _write(
        folder / "redis" / "replication.conf",
        f"masteruser replica\nmasterauth {passwords['replica']}\n",
    )
    for name in SERVICES:
        _write(folder / name / "VISIT_COUNTER_STORE__URL", _with_user(name, passwords[name]))
    known = {f"redis://exporter@{node}": passwords["exporter"] for node in _nodes()}
    _write(folder / "exporter" / "passwords.json", json.dumps(known))
    _write(folder / "cluster" / "password", passwords["cluster"])
    _write(folder / "grafana" / "admin_password", passwords["grafana"])
    print(f"secrets: {len(passwords)} passwords in place")


def _password(file: Path) -> str:
    """Return the password kept in a file, made if there is none."""
    if not file.exists():
        _write(file, secrets.token_urlsafe(PASSWORD_BYTES), mode=0o400)
    return file.read_text(encoding="ascii")


def _with_user(name: str, password: str) -> str:
    scheme, _, rest = REDIS.partition("://")
    return f"{scheme}://{name}:{password}@{rest}"


def _nodes() -> list[str]:
    """Return `host:port` of every Redis server."""
    return REDIS.partition("://")[2].partition("/")[0].split(",")


def _write(file: Path, text: str, mode: int = 0o444) -> None:
    """Write a file whole or not at all. Who may read it is decided by who mounts its folder."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(mode)
    fresh.replace(file)


if __name__ == "__main__":
    main()
