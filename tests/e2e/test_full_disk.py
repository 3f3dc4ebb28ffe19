"""The disk under the embedded pair is full: refused with a clear sentence, nothing acknowledged is lost, well by itself."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from services.cli.option import configuration
from services.runtime.backend import make_backends
from tests.conftest import StartService
from tests.support.disk import DiskError, fill, free, small_disk
from tests.support.load import draw_visits, send
from tests.support.outage import watch
from tests.support.process import http_get, wait_until
from tests.support.truth import check_acknowledged, compare, sqlite_values, wait_counted
from tests.support.visit_counter import Service, write_config

SITES: dict[str, dict[str, object]] = {"thanhxuan": {}, "caugiay": {}}
SERVER = {"trusted_proxies": ["127.0.0.1/32"], "rate_limit_per_second": 0}
RATE = 100.0
FULL_SECONDS = 6.0
DISK_MEGABYTES = 16

Fault = tuple[Callable[[Service], None], Callable[[Service], None], str]
"""What makes the disk full for a service, what mends it, and the sentence that is then told."""


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk, or a plain one where none can be mounted."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(small_disk(tmp_path / "disk", DISK_MEGABYTES))
        except DiskError as error:
            pytest.skip(f"no disk of its own can be had here: {error}")


async def run_out(start_service: StartService, tmp_path: Path, data: Path, fault: Fault) -> None:
    """Let room run out under load and come back; all that was acknowledged is counted once."""
    begin, end, sentence = fault
    path = data / "visit-counter.db"
    url = f"sqlite:{path}"
    config = write_config(tmp_path / "visit-counter.toml", url, url, SITES, server=SERVER)
    up = start_service("up", config)
    load = asyncio.create_task(
        send(up.base_url, draw_visits(5, round(RATE * (FULL_SECONDS + 4)), list(SITES)), RATE)
    )
    await asyncio.sleep(2)
    begin(up)
    seen, told = await asyncio.gather(
        watch(up, "caugiay", FULL_SECONDS, name="watched"), told_why(up, sentence)
    )
    end(up)
    outcome = await load
    print(f"disk full for {FULL_SECONDS:g} s: {seen.told()}; {told}")
    # What had found room in the pages that were left is acknowledged rightly.
    assert seen.statuses[HTTPStatus.SERVICE_UNAVAILABLE] > len(seen.posts) / 2
    assert seen.statuses.keys() <= {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.ACCEPTED}
    assert set(seen.livez) == {HTTPStatus.OK}
    seen.join(outcome)
    assert not outcome.unknown - seen.posts.keys()
    assert sentence in up.output()
    await asyncio.to_thread(up.wait_ready, 20)
    backends = make_backends(configuration(config), exclusive=False)
    await backends.open()
    try:
        values = sqlite_values(path)
        await wait_counted(backends, {0: len(values)})
        await asyncio.to_thread(up.terminate)
        await asyncio.to_thread(up.start)
        values = sqlite_values(path)
        await wait_counted(backends, {0: len(values)})
        check_acknowledged(outcome, await compare(backends, {0: values}))
    finally:
        await backends.close()


async def told_why(service: Service, sentence: str) -> str:
    """Wait until /readyz?verbose says that the process is not ready, and why; return the line."""

    def answer() -> tuple[int, str]:
        status, body = http_get(f"{service.base_url}/readyz?verbose")
        return status, body.decode()

    def is_told() -> bool:
        status, text = answer()
        return status == HTTPStatus.SERVICE_UNAVAILABLE and sentence in text

    await asyncio.to_thread(
        wait_until, is_told, timeout_seconds=FULL_SECONDS, what=f"{sentence!r} in /readyz"
    )
    return next((line for line in answer()[1].splitlines() if sentence in line), "")


async def test_a_full_disk_loses_nothing_and_mends_itself(
    tmp_path: Path, start_service: StartService, data: Path
) -> None:
    """Not one byte is left: 503 that names the disk, alive, and once there is room everything goes on."""
    fault: Fault = (lambda _up: fill(data), lambda _up: free(data), "the disk is full")
    await run_out(start_service, tmp_path, data, fault)


async def test_a_file_that_may_not_grow_loses_nothing_and_mends_itself(
    tmp_path: Path, start_service: StartService
) -> None:
    """A limit on the size of files is another error of the same kind, and needs no disk of its own."""

    def limit(size: int) -> Callable[[Service], None]:
        def set_limit(up: Service) -> None:
            _, hard = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (size, hard))

        return set_limit

    data = tmp_path / "data"
    data.mkdir()
    fault: Fault = (
        limit(64 * 1024),
        limit(resource.RLIM_INFINITY),
        "the disk cannot be read or written",
    )
    await run_out(start_service, tmp_path, data, fault)
