"""One deployment, started from nothing, for all tests of this folder, and taken down whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compose import Stack, engine_answers

PROJECT = "visit-counter-test"
DOCKER_NETWORKS = ("172.16.0.0/12", "192.168.0.0/16")
"""Docker's default pools: from there this machine comes to the gateway. Not the network that gateway and services share."""

SITE_FILE = 'name = "Load"\ntest = true\n'


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running deployment whose gateway believes this machine's X-Forwarded-For, as it would a load balancer's."""
    if not engine_answers():
        pytest.fail("no Docker engine with Compose answers: start one, then repeat")
    found = Stack(os.environ.get("COMPOSE_TEST_PROJECT", PROJECT), tmp_path_factory.mktemp("stack"))
    trust_this_machine(found.gateway_configuration / "trusted-proxies.conf")
    found.down()
    try:
        found.up("--build")
        yield found
    finally:
        found.down()


def trust_this_machine(file: Path) -> None:
    """Let the gateway take the address of the load generator's invented readers from their requests."""
    lines = [f"set_real_ip_from {network};" for network in DOCKER_NETWORKS]
    lines += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
