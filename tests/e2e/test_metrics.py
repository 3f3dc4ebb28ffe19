"""What /metrics of every service holds: names, kinds and labels, as operators' rules and dashboards rely on them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from services.aggregator.metrics import LOCATING, RUNNING
from tests.conftest import StartService
from tests.support.kafka import KafkaCluster
from tests.support.process import http_get, http_post
from tests.support.redis import RedisServer
from tests.support.visit_counter import Service, write_config
from visits.errors import StoppedState
from visits.refusal import Refusal

Promised = Mapping[str, tuple[str, frozenset[str]]]
"""Sample's name → kind, and its labels."""

NONE: frozenset[str] = frozenset()
EVERYWHERE: Promised = {
    "visit_counter_build_info": ("gauge", frozenset({"version", "python"})),
    "visit_counter_config_info": ("gauge", frozenset({"hash"})),
    "visit_counter_store_up": ("gauge", NONE),
    "visit_counter_sites": ("gauge", NONE),
    "visit_counter_site_faults": ("gauge", NONE),
    "visit_counter_memory_limit_bytes": ("gauge", NONE),
    "visit_counter_loop_lag_seconds_bucket": ("histogram", frozenset({"le"})),
    "process_resident_memory_bytes": ("gauge", NONE),
}
INGEST: Promised = {
    "visit_counter_received_total": ("counter", frozenset({"kind"})),
    "visit_counter_refused_total": ("counter", frozenset({"reason"})),
    "visit_counter_acknowledged_total": ("counter", NONE),
    "visit_counter_in_flight": ("gauge", NONE),
    "visit_counter_log_up": ("gauge", NONE),
    "visit_counter_client_address_suspect": ("gauge", NONE),
    "visit_counter_producer_rebuilds_total": ("counter", NONE),
    "visit_counter_append_seconds_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_append_records_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_acknowledge_seconds_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_proxy_views_total": ("counter", frozenset({"proxy"})),
    "visit_counter_site_views_total": ("counter", frozenset({"site"})),
    "visit_counter_site_last_view_timestamp_seconds": ("gauge", frozenset({"site"})),
}
AGGREGATOR: Promised = {
    "visit_counter_applied_total": ("counter", frozenset({"outcome"})),
    "visit_counter_lag_records": ("gauge", frozenset({"partition"})),
    "visit_counter_lag_seconds": ("gauge", frozenset({"partition"})),
    "visit_counter_freshness_seconds_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_fence_misses_total": ("counter", frozenset({"kind"})),
    "visit_counter_position_records": ("gauge", frozenset({"partition"})),
    "visit_counter_fold_seconds_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_apply_seconds_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_batch_records_bucket": ("histogram", frozenset({"le"})),
    "visit_counter_id_window_seconds": ("gauge", frozenset({"partition"})),
    "visit_counter_page_fill_ratio": ("gauge", frozenset({"partition"})),
    "visit_counter_partition_state": ("gauge", frozenset({"partition", "state"})),
    "visit_counter_log_up": ("gauge", NONE),
}
API: Promised = {
    "visit_counter_sse_clients": ("gauge", NONE),
    "visit_counter_online_readers": ("gauge", NONE),
    "visit_counter_late_sites": ("gauge", NONE),
    "visit_counter_balance_difference_views": ("gauge", NONE),
    "visit_counter_balance_open_sites": ("gauge", NONE),
    "visit_counter_balance_checked_timestamp_seconds": ("gauge", NONE),
    "visit_counter_reading_age_seconds": ("gauge", NONE),
}

EMBEDDED: Promised = {
    "visit_counter_data_bytes": ("gauge", NONE),
    "visit_counter_data_free_bytes": ("gauge", NONE),
}

CLOSED_LABELS = frozenset(
    {"kind", "reason", "outcome", "partition", "state", "hash", "version", "python", "route", "status", "proxy", "disk", "le"}
)  # fmt: skip
"""Besides `site`, which two metrics alone carry: never a page, a visitor, a path."""

WITH_SITE = frozenset(
    {"visit_counter_site_views_total", "visit_counter_site_last_view_timestamp_seconds"}
)
PAGE, AGENT = "/tin-tuc/only-here", "Mozilla/5.0 Firefox/130.0"


async def check(service: Service, promised: Promised) -> dict[str, list[Mapping[str, str]]]:
    """Hold what a service shows against what is promised of it; returns name → labels of its samples."""
    _, body = await asyncio.to_thread(http_get, f"{service.base_url}/metrics")
    text = body.decode()
    kinds: dict[str, str] = {}
    labels: dict[str, list[Mapping[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kinds[sample.name] = family.type
            labels.setdefault(sample.name, []).append(sample.labels)
    for name, (kind, names) in {**EVERYWHERE, **promised}.items():
        assert name in labels, f"{service.name} has no {name}"
        assert kinds[name] == kind, name
        assert {frozenset(found) for found in labels[name]} == {names}, name
    for name, found in labels.items():
        if name.startswith("visit_counter_"):
            allowed = CLOSED_LABELS | ({"site"} if name in WITH_SITE else set())
            assert all(allowed.issuperset(carried) for carried in found), name
    assert PAGE not in text
    assert AGENT not in text
    return labels


async def view(service: Service) -> None:
    """Send one view."""
    body = json.dumps({"site": "a", "page": PAGE}).encode()
    status, answer = await asyncio.to_thread(http_post, f"{service.base_url}/v1/views", body)
    assert status == 202, answer


async def until_counted(service: Service) -> None:
    """Wait until a record is counted."""
    until = time.monotonic() + 60
    name, labels = "visit_counter_applied_total", {"outcome": "applied"}
    while not await asyncio.to_thread(service.metric, name, **labels):
        assert time.monotonic() < until
        await asyncio.sleep(0.1)


async def test_every_service_shows_the_metrics_that_are_promised(
    tmp_path: Path, kafka: KafkaCluster, redis_server: RedisServer, topic: str, start_service: StartService
) -> None:  # fmt: skip
    """Names, kinds and labels of ingest, aggregator and api; all values of a closed set are there from the start."""
    config = write_config(
        tmp_path / "visit-counter.toml",
        kafka.url(topic),
        redis_server.url,
        {"a": {}, "b": {}},
        log={"partitions": 2},
    )
    ingest, aggregator, api = (start_service(c, config) for c in ("ingest", "aggregator", "api"))
    found = await check(ingest, INGEST)
    reasons = {labels["reason"] for labels in found["visit_counter_refused_total"]}
    assert reasons == set(Refusal)
    await view(ingest)
    await until_counted(aggregator)
    found = await check(aggregator, AGGREGATOR)
    edges = {float(labels["le"]) for labels in found["visit_counter_freshness_seconds_bucket"]}
    assert {0.5, 2.0} <= edges
    states = {
        (labels["partition"], labels["state"]) for labels in found["visit_counter_partition_state"]
    }
    assert states == {(p, s) for p in ("0", "1") for s in (RUNNING, LOCATING, *StoppedState)}
    await check(api, API)
    hashes = {
        tuple(labels["hash"] for labels in (await check(service, {}))["visit_counter_config_info"])
        for service in (ingest, aggregator, api)
    }
    assert len(hashes) == 1, "one configuration, one hash"


async def test_up_shows_them_all(tmp_path: Path, start_service: StartService) -> None:
    """The three services in one process show what each of them does, once."""
    url = f"sqlite:{tmp_path / 'data' / 'visit-counter.db'}"
    up = start_service("up", write_config(tmp_path / "visit-counter.toml", url, url, {"a": {}}))
    await view(up)
    await until_counted(up)
    found = await check(up, {**INGEST, **AGGREGATOR, **API, **EMBEDDED})
    assert all(len(found[name]) == 1 for name in EVERYWHERE if not name.endswith("_bucket"))
    for name in ("log_up", "store_up"):
        assert await asyncio.to_thread(up.metric, f"visit_counter_{name}") == 1
