"""The passwords of a deployment: made once, told to those alone who need them."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.visit_counter import REPOSITORY

PROGRAM = REPOSITORY / "deploy" / "secrets" / "generate.py"
USERS = REPOSITORY / "deploy" / "redis" / "users.acl"
SERVICES = ("ingest", "aggregator", "api", "operator")


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    run(tmp_path, monkeypatch)
    return tmp_path


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), str(folder), str(USERS)])
    runpy.run_path(str(PROGRAM), run_name="__main__")


def texts(folder: Path) -> dict[str, str]:
    return {str(file): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_second_run_changes_nothing(generate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start of the deployment runs it again."""
    before = texts(generate)
    run(generate, monkeypatch)
    assert texts(generate) == before


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_a_user_and_a_password_of_its_own(generate: Path, service: str) -> None:
    """Redis knows the password's hash, the service the password, and nobody else's."""
    url = urlsplit((generate / service / "VISIT_COUNTER_STORE__URL").read_text())
    assert (url.username, url.hostname) == (service, "redis")
    assert url.password is not None
    digest = hashlib.sha256(url.password.encode()).hexdigest()
    (line,) = [
        line
        for line in (generate / "redis" / "users.acl").read_text().splitlines()
        if digest in line
    ]
    assert line.startswith(f"user {service} on #{digest} ")
    assert [file.name for file in (generate / service).iterdir()] == ["VISIT_COUNTER_STORE__URL"]


def test_users_of_redis_are_told_hashes_alone(generate: Path) -> None:
    """No password stands in the file that Redis reads, and no placeholder is left."""
    users = (generate / "redis" / "users.acl").read_text()
    passwords = [file.read_text() for file in (generate / "passwords").iterdir()]
    assert not [password for password in passwords if password in users]
    assert "{" not in users
    assert "user default off" in users


def test_a_cluster_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services learn all servers, and the exporter a password for each."""
    monkeypatch.setenv("REDIS_URL", "redis-cluster://redis:6379,redis-2:6379")
    run(tmp_path, monkeypatch)
    url = (tmp_path / "api" / "VISIT_COUNTER_STORE__URL").read_text()
    assert url.startswith("redis-cluster://api:")
    assert url.endswith("@redis:6379,redis-2:6379")
    known = json.loads((tmp_path / "exporter" / "passwords.json").read_text())
    assert sorted(known) == ["redis://exporter@redis-2:6379", "redis://exporter@redis:6379"]
