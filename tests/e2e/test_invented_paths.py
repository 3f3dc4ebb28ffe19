"""Invented paths take no more room than the page cap, every view is counted, and a true article still finds its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.invented import SERVER, SITES, Invented
from tests.support.kafka import KafkaCluster
from tests.support.redis import RedisServer
from tests.support.visit_counter import write_config

PAGES_MAX = 300


@pytest.mark.parametrize("pair", ["sqlite", pytest.param("kafka", marks=pytest.mark.integration)])
async def test_invented_paths_take_no_more_room_than_the_cap(
    pair: str, request: pytest.FixtureRequest, tmp_path: Path, topic: str, start_service: StartService
) -> None:  # fmt: skip
    """Thousands of invented paths on a small cap; `make bench ARGS=invented_paths` sends a million on the default one."""
    if pair == "sqlite":
        log_url = store_url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    else:
        kafka: KafkaCluster = request.getfixturevalue("kafka")
        redis: RedisServer = request.getfixturevalue("redis_server")
        log_url, store_url = kafka.url(topic), redis.url
    config = write_config(
        tmp_path / "visit-counter.toml",
        log_url,
        store_url,
        SITES,
        server=SERVER,
        store={"max_pages": PAGES_MAX},
    )
    up = start_service("up", config)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        invented = Invented(config, backends, up.base_url, up.base_url, PAGES_MAX, 1_000, 3_000)
        await invented.send()
        await invented.check()
        await invented.check_article()
    finally:
        await backends.close()
